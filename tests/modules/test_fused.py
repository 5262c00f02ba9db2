"""Fused operators against torch's own: values, gradients, running statistics, names."""

import copy
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import convwright as cw
from convwright.modules.combinators import Gated, Sum
from convwright.modules.fused import library as compiling
from convwright.modules.fused.chains import _commute
from convwright.modules.fused.kernels import ACTS, PLAIN
from convwright.modules.fused.norms import normalise, recalibrate

from ..tiny import RECALIBRATED, TINY
from .test_build import images

NETWORKS = {
    **TINY,
    **{name: RECALIBRATED[name] for name in ("residual-basic-standard", "mbconv-post", "residual-bottleneck-identity")},
    "lite": "efficientnet_lite0|fit:32|scale:d=0.4,w=0.25|classes:10",
    "pre-activation": "wrn_10_1|classes:10",
}
networks = pytest.mark.parametrize("expression", NETWORKS.values(), ids=NETWORKS)
needs_compiler = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")


def maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn + 0.3).to(dtype).contiguous(memory_format=torch.channels_last)


def outcome(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Logits, gradients and running statistics after one step in training mode."""
    torch.manual_seed(0)  # for stochastic depth and dropout
    x = x.clone().requires_grad_()
    logits = module(x)
    (logits * torch.linspace(1, 2, logits.numel(), dtype=x.dtype).view_as(logits).cos()).sum().backward()
    assert x.grad is not None
    weights = {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
    return {"logits": logits.detach(), "input": x.grad} | weights | dict(module.named_buffers())


def pair(expression: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    network = cw.network(expression)
    plain, other = (
        cw.build(network, seed=0, fused=fused).to(dtype, memory_format=torch.channels_last) for fused in (False, True)
    )
    return plain, other, images(network, 4, dtype).contiguous(memory_format=torch.channels_last)


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], share: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # Gradients that cancel out to nothing are held to what the others are.
        size = max(float(value.abs().max()), float(expected["input"].abs().max()) if value.is_floating_point() else 0)
        torch.testing.assert_close(found[name], value, rtol=share, atol=share * size, msg=name)


@needs_compiler
@networks
def test_a_step_equals_that_of_the_plain_network(expression: str) -> None:
    plain, fused, x = pair(expression, torch.float64)
    assert_close(outcome(fused, x), outcome(plain, x), 1e-8)


@networks
def test_weights_can_be_exchanged(expression: str) -> None:
    plain, fused, x = pair(expression, torch.float32)
    assert list(fused.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in fused.named_modules()] == [name for name, _ in plain.named_modules()]
    for one, other in zip(fused.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        assert torch.equal(fused.eval()(x), plain.eval()(x))


def test_without_a_compiler_it_is_the_plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiling.DISABLE, "1")
    compiling.library.cache_clear()
    try:
        plain, fused, x = pair(TINY["residual-basic"], torch.float32)
        expected = outcome(plain, x)
        assert all(torch.equal(value, expected[name]) for name, value in outcome(fused, x).items())
    finally:
        compiling.library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)], ids=str)
def test_a_step_in_fewer_bits_is_near(dtype: torch.dtype) -> None:
    plain, fused, x = pair(TINY["residual-basic"], torch.float32)
    found = []
    for module in (plain, fused):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found.append(outcome(module, x.float()))
    share = 1e-3 if dtype == torch.float32 else 0.1
    for name in ("logits", "stem.conv.weight", "head.linear.weight"):
        off = (found[0][name] - found[1][name]).norm() / found[0][name].norm()
        assert off < share, name


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("summed", [False, True])
def test_gradients_are_those_of_finite_differences(act: str, gated: bool, summed: bool) -> None:
    norm = nn.BatchNorm2d(3).double()
    gate = Gated([("pool", nn.AdaptiveAvgPool2d(1)), ("conv", nn.Conv2d(3, 3, 1).double()), ("act", nn.Sigmoid())])
    x, residual = maps(2, 3, 3, 4).requires_grad_(), maps(2, 3, 3, 4, seed=1).requires_grad_()

    def function(x: torch.Tensor, residual: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        added = {"residual": residual, "rectified": True} if summed else {}
        return recalibrate(PLAIN, norm, gate, x, act, **added) if gated else normalise(PLAIN, norm, x, act, **added)[0]

    parameters = [*norm.parameters(), *(gate.parameters() if gated else ())]
    assert torch.autograd.gradcheck(function, (x, residual, *parameters))


@needs_compiler
def test_a_copy_learns_by_itself() -> None:
    _, fused, x = pair(TINY["mbconv"], torch.float64)
    for part in fused.modules():
        if isinstance(part, Sum | nn.Dropout):
            part.drop_rate = part.p = 0.0
    copied = copy.deepcopy(fused)
    assert_close(outcome(copied, x), outcome(fused, x), 1e-12)


@needs_compiler
@pytest.mark.parametrize("expression", [TINY["residual-basic"], TINY["dense-bottleneck"]])
def test_a_part_that_is_not_in_training_mode_stays_so(expression: str) -> None:
    plain, fused, x = pair(expression, torch.float64)
    for module in (plain, fused):
        for name, part in module.named_modules():
            if isinstance(part, nn.BatchNorm2d) and "block1" in name:
                part.eval()
    assert_close(outcome(fused, x), outcome(plain, x), 1e-8)


@needs_compiler
def test_a_mean_over_windows_comes_before_a_pointwise_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, fused, x = pair(TINY["dense-bottleneck"], torch.float64)
    expected, conv, sides = outcome(plain, x), fused.get_submodule("transition1.conv"), []
    convolve = nn.Conv2d._conv_forward

    def noting(self: nn.Conv2d, given: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        if self is conv:
            sides.append(given.shape[2])
        return convolve(self, given, *more)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", noting)
    assert_close(outcome(fused, x), expected, 1e-8)
    assert sides == [x.shape[2] // 2]


def other_pools(transition: nn.Module) -> None:
    transition.pool = nn.MaxPool2d(2)


def wider_convolutions(transition: nn.Module) -> None:
    transition.conv = nn.Sequential(transition.conv, nn.Tanh())


def padded_convolutions(transition: nn.Module) -> None:
    transition.conv.padding = (1, 1)


def hooked_convolutions(transition: nn.Module) -> None:
    transition.conv.register_forward_hook(lambda _, given, made: made.relu())


def hooked_pools(transition: nn.Module) -> None:
    transition.pool.register_forward_hook(lambda _, given, made: made.relu())


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize(
    "change", [other_pools, wider_convolutions, padded_convolutions, hooked_convolutions, hooked_pools]
)
def test_what_commutes_no_more_is_computed_in_order(change: Callable, fused: bool) -> None:
    plain, other, x = memory_efficient(TINY["dense-bottleneck"], fused=fused)
    for module in (plain, other):
        change(module.get_submodule("transition1"))
    assert_close(outcome(other, x), outcome(plain, x), 1e-8)


@pytest.mark.parametrize(
    ("conv", "pool", "expected"),
    [
        (nn.Conv2d(4, 8, 1), nn.AvgPool2d(2), True),
        (nn.Conv2d(4, 8, 1), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), True),
        (nn.Conv2d(4, 8, 1), nn.AvgPool2d(2, ceil_mode=True), True),
        (nn.Conv2d(4, 8, 1, groups=2), nn.AvgPool2d(2), True),
        (nn.Conv2d(4, 8, 1), nn.AvgPool2d(3, 2, padding=1), False),
        (nn.Conv2d(4, 8, 1), nn.MaxPool2d(2), False),
        (nn.Conv2d(4, 8, 1, stride=2), nn.AvgPool2d(2), False),
        (nn.Conv2d(4, 8, 1, padding=1), nn.AvgPool2d(2), False),
        (nn.Conv2d(4, 8, 3), nn.AvgPool2d(2), False),
        (nn.BatchNorm2d(4), nn.AvgPool2d(2), False),
    ],
)
def test_which_convolutions_and_means_commute(conv: nn.Module, pool: nn.Module, expected: bool) -> None:
    assert _commute(conv, pool) == expected
    if expected:
        x = maps(2, 4, 7, 7)
        torch.testing.assert_close(conv.double()(pool(x)), pool(conv(x)))


def memory_efficient(expression: str, **options: bool) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    network = cw.network(expression)
    plain = cw.build(network, seed=0)
    other = cw.build(network, seed=0, memory_efficient=True, **options)
    x = images(network, 4, torch.float64).contiguous(memory_format=torch.channels_last)
    return plain.to(x.dtype, memory_format=torch.channels_last), other.to(
        x.dtype, memory_format=torch.channels_last
    ), x  # fmt: skip


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
@networks
def test_a_memory_efficient_step_equals_that_of_the_plain_network(expression: str, fused: bool) -> None:
    plain, other, x = memory_efficient(expression, fused=fused)
    assert list(other.state_dict()) == list(plain.state_dict())
    assert_close(outcome(other, x), outcome(plain, x), 1e-8)  # running statistics too: updated once


@pytest.mark.parametrize("expression", [TINY["dense-bottleneck"], "densenet_bc_l22_k24|resolution:32"])
@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
def test_a_second_backward_pass_equals_the_first_or_is_refused(expression: str, fused: bool) -> None:
    _, other, x = memory_efficient(expression, fused=fused)
    stage = other.get_submodule("dense1")
    x = maps(8, stage.get_submodule("block1.new.norm1").weight.shape[0], 8, 8)
    loss = stage(x).square().sum()
    found = [torch.autograd.grad(loss, [*stage.parameters()], retain_graph=True) for _ in range(2)]
    torch.testing.assert_close(*found)
    loss = stage(x.requires_grad_()).square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="through a dense block a second time"):
        loss.backward()


@needs_compiler
@pytest.mark.parametrize("memory_efficient", [False, True])
def test_a_mean_keeps_nothing_of_what_it_averages(memory_efficient: bool) -> None:
    network = cw.network(TINY["dense-bottleneck"])
    transition = cw.build(network, seed=0, fused=True, memory_efficient=memory_efficient).get_submodule("transition1")
    x = maps(8, transition.get_submodule("conv").weight.shape[1], 16, 16, dtype=torch.float32).requires_grad_()
    with Live() as live:
        y = transition(x)
        kept = live.now
    assert kept < 1.6 * x.untyped_storage().nbytes()  # itself, a quarter of its positions, and the outputs
    y.square().sum().backward()
    assert x.grad is not None


def cumulative(norm: nn.BatchNorm2d) -> None:
    norm.momentum = None


def untracked(norm: nn.BatchNorm2d) -> None:
    norm.track_running_stats = False
    norm.running_mean = norm.running_var = norm.num_batches_tracked = None


@pytest.mark.parametrize("setting", [cumulative, untracked])
@pytest.mark.parametrize("expression", [TINY["residual-basic"], TINY["dense-bottleneck"]])
def test_running_statistics_may_be_cumulative_or_none(setting: Callable, expression: str) -> None:
    plain, other, x = memory_efficient(expression, fused=False)
    for module in (plain, other):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                setting(part)
    for factor in (1.0, 2.0, 0.5):
        assert_close(outcome(other, factor * x), outcome(plain, factor * x), 1e-8)


@pytest.mark.parametrize("expression", [TINY["mbconv"], TINY["dense-bottleneck"]])
def test_a_memory_efficient_step_in_half_precision_is_near(expression: str) -> None:
    found = []
    for module in memory_efficient(expression, fused=False)[:2]:
        module, x = module.float(), maps(4, 3, 32, 32, dtype=torch.float32)
        for part in module.modules():
            if isinstance(part, Sum | nn.Dropout):
                part.drop_rate = part.p = 0.0
        with torch.autocast("cpu", torch.float16):
            found.append(outcome(module, x))
    for name in ("logits", "input"):
        off = (found[0][name].float() - found[1][name].float()).norm() / found[0][name].float().norm()
        assert off < 0.1, name


@pytest.mark.parametrize("expression", [TINY["residual-basic"], TINY["dense-bottleneck"]])
@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
def test_batches_without_a_variance_are_refused(expression: str, fused: bool) -> None:
    _, other, _ = memory_efficient(expression, fused=fused)
    for shape in ((0, 3, 8, 8), (1, 3, 1, 1)):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            other(torch.zeros(shape, dtype=torch.float64))


class Doubled(nn.BatchNorm2d):
    """A normalisation of another class, which computes otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("which", ["", "1."])
@pytest.mark.parametrize("name", ["residual-basic", "mbconv", "dense-bottleneck", "residual-bottleneck-identity"])
def test_a_normalisation_of_another_class_computes_itself(name: str, which: str) -> None:
    plain, other, x = memory_efficient(NETWORKS[name], fused=False)
    for module in (plain, other):
        norms = [part for name, part in module.named_modules() if type(part) is nn.BatchNorm2d and which in name]
        assert norms
        for part in norms:
            part.__class__ = Doubled
    assert_close(outcome(other, x), outcome(plain, x), 1e-8)


def replaced(module: nn.Module, old: type[nn.Module], new: Callable[[nn.Module], nn.Module]) -> int:
    """Put other parts in the place of some; return how many."""
    places = [(module, name, part) for module in module.modules() for name, part in module.named_children()]
    found = [(owner, name, part) for owner, name, part in places if type(part) is old]
    for owner, name, part in found:
        setattr(owner, name, new(part))
    return len(found)


def other_activations(module: nn.Module) -> None:
    assert sum(replaced(module, old, lambda _: nn.LeakyReLU(0.3)) for old in (nn.ReLU, nn.ReLU6, nn.SiLU))


def doubling_hooks(module: nn.Module, *kinds: type[nn.Module]) -> None:
    parts = [part for part in module.modules() if type(part) in kinds]
    assert parts
    for part in parts[1::2]:
        part.register_forward_hook(lambda _, given, made: 2 * made)


def hooks_on_norms(module: nn.Module) -> None:
    doubling_hooks(module, nn.BatchNorm2d)


def hooks_on_activations(module: nn.Module) -> None:
    doubling_hooks(module, nn.ReLU, nn.ReLU6, nn.SiLU)


def hooks_on_chains(module: nn.Module) -> None:
    bodies = [part for name, part in module.named_modules() if name.endswith(("new", "body"))]
    for body in bodies[1:]:
        body.register_forward_hook(lambda _, given, made: 2 * made)


def norms_without_weights(module: nn.Module) -> None:
    for part in [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)][::2]:
        part.weight = part.bias = None


class Halved(nn.Sequential):
    """Another part, and half of what it makes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().forward(x)


def wrapped_convolutions(module: nn.Module) -> None:
    for kind in {type(part) for part in module.modules() if isinstance(part, nn.Conv2d)}:
        replaced(module, kind, Halved)


CHANGES = (
    other_activations,
    hooks_on_norms,
    hooks_on_activations,
    hooks_on_chains,
    norms_without_weights,
    wrapped_convolutions,
)
PARTS = ("residual-basic", "mbconv", "dense-bottleneck", "residual-bottleneck-identity", "lite", "pre-activation")


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", PARTS)
def test_what_is_put_in_its_place_or_hung_on_it_counts(name: str, change: Callable, fused: bool) -> None:
    plain, other, x = memory_efficient(NETWORKS[name], fused=fused)
    for module in (plain, other):
        change(module)
    assert_close(outcome(other, x), outcome(plain, x), 1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize("name", ["residual-basic", "mbconv", "dense-bottleneck"])
def test_a_module_of_fewer_bits_learns(name: str, fused: bool, dtype: torch.dtype) -> None:
    plain, other, x = memory_efficient(NETWORKS[name], fused=fused)
    found = []
    for module in (plain, other.to(dtype)):
        for part in module.modules():
            if isinstance(part, Sum | nn.Dropout):
                part.drop_rate = part.p = 0.0
        found.append(outcome(module, x.to(next(module.parameters()).dtype))["logits"].double())
    assert (found[0] - found[1]).norm() < 0.1 * found[0].norm()


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are made within it and exist at the same time; `most`: at most."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.now = self.most = 0

    def __torch_dispatch__(self, function: Callable, types: object, given: tuple = (), options: dict | None = None):
        result = function(*given, **(options or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor) and id(made.untyped_storage()) not in self.known:
                self._begin(made.untyped_storage())
        return result

    def _begin(self, storage: torch.UntypedStorage) -> None:
        self.known.add(id(storage))
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._end, id(storage), storage.nbytes())

    def _end(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
@networks
def test_a_step_leaves_nothing_in_memory(expression: str, fused: bool) -> None:
    network = cw.network(expression)
    module = cw.build(network, seed=0, fused=fused, memory_efficient=not fused)
    x, left = images(network, 4), []
    with Live() as live:
        for _ in range(3):
            module(x).square().sum().backward()
            module.zero_grad(set_to_none=True)
            left.append(live.now)  # running statistics count from their first change on
    assert left[0] == left[1] == left[2]


def peak(module: nn.Module, x: torch.Tensor) -> int:
    """Bytes that a step takes at most, forward and backward."""
    with Live() as live:
        module(x).square().sum().backward()
    return live.most


def test_the_count_of_memory_knows_what_is_kept_and_what_is_freed() -> None:
    with Live() as live:
        x = torch.zeros(1000)
        for _ in range(3):
            y = x + 1  # the one before is freed once this one is there
            y.add_(1).view(10, 100)
    assert (live.now, live.most) == (8000, 12000)


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
def test_memory_grows_with_the_depth_and_not_with_its_square(fused: bool) -> None:
    taken = []
    for layers in (4, 8, 12):
        network = cw.network(f"densenet_bc_l{6 * layers + 4}_k4|resolution:32|classes:10")
        x = images(network, 4).contiguous(memory_format=torch.channels_last)
        taken.append([
            peak(cw.build(network, seed=0, **how).to(memory_format=torch.channels_last), x)
            for how in ({"memory_efficient": True, "fused": fused}, {"memory_efficient": False})
        ])  # fmt: skip
    (first, _), (second, _), (third, plain) = taken
    assert third - second < 1.15 * (second - first)
    assert third < 0.5 * plain

"""What holds for every convolution with operators of its own: it is torch's, whatever is done to it."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import convwright as cw
from convwright.arch import layers as graph
from convwright.modules.builder import _own
from convwright.modules.combinators import SameConv2d
from convwright.modules.fused import library as compiling
from convwright.modules.fused.convolution import CompiledConv2d
from convwright.modules.fused.depthwise import DepthwiseConv2d, SameDepthwiseConv2d
from convwright.modules.fused.pointwise import PointwiseConv2d
from convwright.modules.fused.winograd import WinogradConv2d

from .test_kernels import maps

pytestmark = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")

CASES: dict[type[CompiledConv2d], tuple[dict[str, Any], tuple[int, ...]]] = {
    WinogradConv2d: ({"in_channels": 32, "out_channels": 48, "kernel_size": 3, "padding": 1}, (16, 32, 12, 12)),
    DepthwiseConv2d: (
        {"in_channels": 32, "out_channels": 32, "kernel_size": 5, "padding": (2, 1), "groups": 32},
        (2, 32, 15, 17),
    ),
    SameDepthwiseConv2d: (
        {"in_channels": 32, "out_channels": 32, "kernel_size": 3, "stride": 2, "groups": 32},
        (2, 32, 16, 15),
    ),
    PointwiseConv2d: ({"in_channels": 32, "out_channels": 40, "kernel_size": 1}, (3, 32, 14, 15)),
}
kinds = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each time that a convolution is computed by operators of its own."""
    noted: list[str] = []

    def watch(kind: type[CompiledConv2d]) -> None:
        convolve = kind._convolve

        def noting(self: CompiledConv2d, *given: Any) -> torch.Tensor:
            noted.append(kind.__name__)
            return convolve(self, *given)

        monkeypatch.setattr(kind, "_convolve", noting)

    for kind in (WinogradConv2d, DepthwiseConv2d, PointwiseConv2d):
        watch(kind)
    return noted


def pair(kind: type[CompiledConv2d], bias: bool = False) -> tuple[nn.Conv2d, nn.Conv2d, torch.Tensor]:
    """A convolution, torch's, and maps for both."""
    options, shape = CASES[kind]
    other = SameConv2d if issubclass(kind, SameConv2d) else nn.Conv2d
    own, usual = (each(**options, bias=bias, dtype=torch.float64) for each in (kind, other))
    usual.load_state_dict(own.state_dict())
    return own, usual, maps(*shape)


def gradients(conv: nn.Module, x: torch.Tensor, wanted: Callable[[str], bool] = lambda _: True) -> list[torch.Tensor]:
    """The maps, and the gradients of what is wanted of input, weight and bias."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_(wanted("input"))
    inputs = [weight for name, weight in [("input", x), *conv.named_parameters()] if wanted(name)]
    y = conv(x)
    d = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape).cos()  # not channels last
    return [y, *torch.autograd.grad(y, inputs, d)]


def assert_same(own: nn.Module, usual: nn.Module, x: torch.Tensor, **how: Any) -> None:
    for found, expected in zip(gradients(own, x, **how), gradients(usual, x, **how), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@kinds
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_torchs(kind: type[CompiledConv2d], bias: bool, used: list[str]) -> None:
    own, usual, x = pair(kind, bias)
    for layout in (torch.channels_last, torch.contiguous_format):
        assert_same(own, usual, x.contiguous(memory_format=layout))
    assert len(used) == 2


@kinds
def test_what_is_frozen_gets_no_gradient(kind: type[CompiledConv2d], used: list[str]) -> None:
    own, usual, x = pair(kind, bias=True)
    for frozen in ("input", "weight", "bias"):
        for conv in (own, usual):
            conv.requires_grad_(True).get_parameter(frozen if frozen != "input" else "bias").requires_grad_(
                frozen == "input"
            )
        assert_same(own, usual, x, wanted=lambda name, frozen=frozen: name != frozen)
    assert len(used) == 3


@kinds
def test_filters_may_lie_unevenly_and_kept_maps_otherwise(kind: type[CompiledConv2d], used: list[str]) -> None:
    own, usual, x = pair(kind)
    out, channels, *sides = own.weight.shape
    turned = torch.empty(channels, out, *(side + 2 for side in sides), dtype=x.dtype)[..., : sides[0], : sides[1]]
    with torch.no_grad():
        turned.transpose(0, 1).copy_(own.weight)
    own.weight = nn.Parameter(turned.transpose(0, 1))
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept.contiguous()):
        assert_same(own, usual, x)
    assert len(used) == 1


@kinds
def test_a_graph_may_be_gone_back_twice(kind: type[CompiledConv2d]) -> None:
    own, _, x = pair(kind)
    loss = own(x.requires_grad_()).square().sum()
    found = [torch.autograd.grad(loss, [x, own.weight], retain_graph=True) for _ in range(2)]
    torch.testing.assert_close(*found, rtol=0, atol=0)


@kinds
def test_it_is_left_to_torch_elsewhere(kind: type[CompiledConv2d], used: list[str]) -> None:
    own, usual, x = pair(kind)
    for dtype in (torch.float16,) if kind.reads_bfloat16 else (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype):
            assert pair(kind)[0].float()(x.float()).dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        own(x)  # which autocast leaves in 64 bits
    for conv in (own, usual):
        conv.eval()
    assert_same(own, usual, x)
    own.train().to("meta")(x.to("meta"))
    with pytest.raises(RuntimeError):
        pair(kind)[0](x.float())  # another type than the weights'
    assert not used


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind.reads_bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_mixed_precision(kind: type[CompiledConv2d], dtype: torch.dtype, used: list[str]) -> None:
    exact, _, x = pair(kind, bias=True)
    own, x = copy.deepcopy(exact).float(), x.to(dtype)
    expected = gradients(exact, x.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(own, x)
    assert [each.dtype for each in found] == [torch.bfloat16, dtype, torch.float32, torch.float32]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 5e-3 * other.norm()  # bfloat16 rounds by up to 2^-9 = 2e-3
    assert used == [kind.__name__.removeprefix("Same")] * 2


@kinds
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stride", (1, 2)),
        ("stride", (3, 3)),
        ("dilation", (2, 2)),
        ("padding", (8, 8)),
        ("padding", "same"),
        ("padding_mode", "circular"),
    ],
)
def test_what_is_changed_later_counts(kind: type[CompiledConv2d], name: str, value: object, used: list[str]) -> None:
    own, usual, x = pair(kind)
    if value == "same" and own.stride != (1, 1):
        pytest.skip("torch knows no such convolution")
    for conv in (own, usual):
        setattr(conv, name, value)
    assert_same(own, usual, x)
    assert not used


class Counting(nn.Module):
    """Gives weights as they are, and counts."""

    calls = 0

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return weight.clone()


@kinds
def test_a_parametrisation_is_computed_once(kind: type[CompiledConv2d], used: list[str]) -> None:
    own, usual, x = pair(kind)
    counting = Counting()
    parametrize.register_parametrization(own, "weight", counting)
    counting.calls = 0
    torch.testing.assert_close(own(x), usual(x))
    assert counting.calls == 1
    assert len(used) == 1


@pytest.mark.parametrize(
    ("conv", "channels", "expected"),
    [
        (graph.Conv(64, 3), 64, WinogradConv2d),
        (graph.Conv(64, 3, padding=1), 32, WinogradConv2d),
        (graph.Conv(64, 3, stride=2), 64, None),
        (graph.Conv(64, 3, padding=0), 64, None),
        (graph.Conv(64, 3, groups=2), 64, None),
        (graph.Conv(64, 3, dilation=2), 64, None),
        (graph.Conv(64, 3, same=True), 64, None),
        (graph.Conv(64, 5), 64, None),
        (graph.Conv(64, (1, 3)), 64, None),
        (graph.Conv(16, 3), 64, None),
        (graph.Conv(64, 3), 40, None),
        (graph.Conv(32, 3, groups=32), 32, DepthwiseConv2d),
        (graph.Conv(32, 5, stride=2, groups=32), 32, DepthwiseConv2d),
        (graph.Conv(32, 7, groups=32, padding=0), 32, DepthwiseConv2d),
        (graph.Conv(32, 3, groups=32, same=True), 32, SameDepthwiseConv2d),
        (graph.Conv(64, 3, groups=32), 32, None),
        (graph.Conv(32, 3, groups=16), 32, None),
        (graph.Conv(24, 3, groups=24), 24, None),
        (graph.Conv(32, 9, groups=32), 32, None),
        (graph.Conv(32, (3, 5), groups=32), 32, None),
        (graph.Conv(32, 3, stride=3, groups=32), 32, None),
        (graph.Conv(32, 3, stride=(1, 2), groups=32), 32, None),
        (graph.Conv(32, 3, dilation=2, groups=32), 32, None),
        (graph.Conv(32, 3, groups=32, padding=3), 32, None),
        (graph.Conv(64, 1), 32, PointwiseConv2d),
        (graph.Conv(64, 1, same=True), 32, PointwiseConv2d),
        (graph.Conv(512, 1), 2048, PointwiseConv2d),
        (graph.Conv(512, 1), 512, None),
        (graph.Conv(64, 1), 24, None),
        (graph.Conv(60, 1), 32, None),
        (graph.Conv(64, 1, stride=2), 32, None),
        (graph.Conv(64, 1, groups=8), 32, None),
        (graph.Conv(64, 1, padding=1), 32, None),
    ],
)
def test_which_convolution_is_built(conv: graph.Conv, channels: int, expected: type[nn.Conv2d] | None) -> None:
    assert _own(conv, channels) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("seresnet50|scale:d=0.3", {WinogradConv2d, PointwiseConv2d}),
        ("efficientnet_b0|scale:d=0.3", {DepthwiseConv2d, PointwiseConv2d}),
        ("efficientnet_lite0|scale:d=0.3", {SameDepthwiseConv2d, PointwiseConv2d}),
    ],
)
def test_networks_are_built_with_them_where_they_are_fused(expression: str, expected: set[type[nn.Module]]) -> None:
    network = cw.network(expression)
    found = [
        {
            type(part)
            for part in cw.build(network, device="meta", fused=fused).modules()
            if isinstance(part, CompiledConv2d)
        }
        for fused in (False, True)
    ]
    assert found == [set(), expected]


def test_headers_count_for_what_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copied = shutil.copytree(compiling.SOURCES, tmp_path / "fused")
    places = [compiling._place("pointwise", ["c++"])]
    monkeypatch.setattr(compiling, "SOURCES", copied)
    places.append(compiling._place("pointwise", ["c++"]))
    for name in ("acts.hpp", "vectors.hpp", "numbers.hpp"):
        with (copied / name).open("a") as header:
            header.write("// changed\n")
        places.append(compiling._place("pointwise", ["c++"]))
    assert places[0] == places[1]
    assert len(set(places)) == 4

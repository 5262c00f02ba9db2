"""1x1 convolutions: their way back, and those of maps that are normalised while they are read, against torch's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

import convwright as cw
from convwright.modules.fused import dense, pointwise
from convwright.modules.fused import library as compiling
from convwright.modules.fused.kernels import ACTS, PLAIN

from .test_build import images
from .test_fused import assert_close, outcome
from .test_kernels import maps, numbers

pytestmark = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")

SHARES = {torch.float64: 1e-9, torch.float32: 1e-4}
"""How far results may be off, as a share of the largest of them."""
SHAPES = [(2, 3, 1, 1), (1, 24, 5, 7), (3, 100, 9, 11), (2, 130, 24, 25), (4, 33, 52, 50), (1, 300, 13, 13)]
"""With channels that fill no vector, of several groups; with rows that fill no tile, of several blocks and pieces."""


def drawn(shape: tuple[int, ...], out: int, dtype: torch.dtype, wider: int = 5) -> dict[str, torch.Tensor]:
    count, channels, *sides = shape
    wide, gathered = (maps(count, channels + wider, *sides, seed=seed, dtype=dtype) for seed in (0, 1))
    scale, shift, mean = (numbers(1, channels, seed=seed, dtype=dtype)[0] for seed in (2, 3, 4))
    filters = maps(out, channels, 1, 1, seed=5, dtype=dtype)
    d = maps(count, out, *sides, seed=6, dtype=dtype)
    return {"x": wide, "scale": scale, "shift": shift, "mean": mean, "filters": filters, "d": d, "gathered": gathered}


def taken_together(given: dict[str, torch.Tensor], act: str) -> dict[str, torch.Tensor]:
    functions = compiling.library(given["x"].dtype, "pointwise")
    assert functions is not None
    seen, gathered = slice(0, given["filters"].shape[1]), given["gathered"].clone(memory_format=torch.channels_last)
    x, scale, shift, filters = given["x"][:, seen], given["scale"], given["shift"], given["filters"]
    y = pointwise.convolve(functions, x, scale, shift, act, filters)
    results = pointwise.convolve_back(
        functions, given["d"], x, scale, shift, given["mean"], act, filters, gathered[:, seen]
    )
    return {"y": y, "gathered": gathered} | dict(zip(("filters", "sums", "products"), results, strict=True))


def one_by_one(given: dict[str, torch.Tensor], act: str) -> dict[str, torch.Tensor]:
    given = {name: value.double() for name, value in given.items()}
    seen, gathered = slice(0, given["filters"].shape[1]), given["gathered"].clone(memory_format=torch.channels_last)
    x, scale, shift, filters = given["x"][:, seen], given["scale"], given["shift"], given["filters"]
    read = PLAIN.forward(x, scale, shift, act)
    d_read = functional.conv_transpose2d(given["d"], filters)
    sums, products = PLAIN.gather(d_read, x, scale, shift, given["mean"], act, gathered[:, seen])
    d_filters = torch.einsum("nohw,nchw->oc", given["d"], read)[:, :, None, None]
    y = functional.conv2d(read, filters)
    return {"y": y, "gathered": gathered, "filters": d_filters, "sums": sums, "products": products}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", SHARES, ids=str)
def test_it_equals_the_three_one_by_one(act: str, dtype: torch.dtype) -> None:
    assert_near(drawn((3, 40, 6, 7), 48, dtype), act)


@pytest.mark.parametrize("out", [16, 48, 128])
@pytest.mark.parametrize("dtype", SHARES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maps_of_any_shape(shape: tuple[int, ...], dtype: torch.dtype, out: int) -> None:
    for wider in (0, 16):
        assert_near(drawn(shape, out, dtype, wider), "relu")


def assert_near(given: dict[str, torch.Tensor], act: str) -> None:
    found, share = taken_together(given, act), SHARES[given["x"].dtype]
    for name, expected in one_by_one(given, act).items():
        size = float(expected.abs().max())
        torch.testing.assert_close(found[name].double(), expected, rtol=share, atol=share * size, msg=name)


def test_nothing_depends_on_the_number_of_threads() -> None:
    given, before = drawn((8, 160, 28, 28), 64, torch.float32), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(taken_together(given, "relu"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(value, other[name]) for other in found[1:] for name, value in found[0].items())


def test_what_is_no_number_stays_none() -> None:
    given = drawn((2, 20, 5, 5), 16, torch.float32)
    given["x"][1, 3, 2, 2] = float("nan")
    y = taken_together(given, "relu")["y"]
    assert y[1, :, 2, 2].isnan().all()
    assert y.isnan().sum() == 16


Given = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: {"filters": g["filters"][:15]}, "for filters of"),
        (lambda g: {"filters": g["filters"].expand(-1, -1, 3, 3)}, "for filters of"),
        (lambda g: {"d": g["d"][:1]}, "outputs of"),
        (lambda g: {"d": g["d"].contiguous()}, "outputs of"),
        (lambda g: {"scale": g["scale"][:3]}, "scale, shift and mean are 20 numbers each"),
        (lambda g: {"mean": g["mean"].float()}, "all are of one type"),
        (lambda g: {"x": g["x"][:0], "gathered": g["gathered"][:0]}, "maps of"),
        (
            lambda g: {"gathered": g["gathered"][:, :20].contiguous(memory_format=torch.channels_last)},
            "must have the layout of the maps",
        ),
        (lambda g: {"x": g["x"].contiguous()}, "not channels last"),
    ],
)
def test_reads_beyond_the_end_are_refused(change: Callable[[Given], Given], message: str) -> None:
    given = drawn((2, 20, 4, 4), 16, torch.float64)
    with pytest.raises(RuntimeError, match=message):
        taken_together(given | change(given), "relu")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of filters that were convolved with so."""
    shapes: list[tuple[int, ...]] = []
    convolve = pointwise.convolve

    def noting(functions: object, x: torch.Tensor, *more: object) -> torch.Tensor:
        shapes.append(tuple(more[-1].shape))  # type: ignore[attr-defined]
        return convolve(functions, x, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(dense, "convolve", noting)
    return shapes


BACK = [
    ((2, 24, 16, 17), 8),
    ((1, 24, 23, 29), 144),  # rows that fill no tile, channels that fill no vector
    ((3, 40, 15, 15), 240),
    ((2, 128, 20, 20), 136),
    ((1, 300, 30, 31), 16),  # several groups, several blocks
    ((7, 64, 50, 50), 96),  # several pieces
    ((2, 17, 1, 1), 8),
]


def gradients_of(shape: tuple[int, ...], out: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    return maps(*shape, dtype=dtype), maps(shape[0], out, *shape[2:], seed=1, dtype=dtype), maps(
        out, shape[1], 1, 1, seed=2, dtype=dtype
    )  # fmt: skip


@pytest.mark.parametrize("dtype", SHARES, ids=str)
@pytest.mark.parametrize(("shape", "out"), BACK, ids=str)
def test_the_way_back_of_maps_of_any_shape(shape: tuple[int, ...], out: int, dtype: torch.dtype) -> None:
    x, d, filters = gradients_of(shape, out, dtype)
    functions = compiling.library(dtype, "pointwise")
    assert functions is not None
    found = pointwise.gradients(functions, x, d, filters)
    expected = (
        functional.conv_transpose2d(d.double(), filters.double()),
        torch.einsum("nohw,nchw->oc", d.double(), x.double())[:, :, None, None],
    )
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        share = SHARES[dtype]
        torch.testing.assert_close(one.double(), other, rtol=share, atol=share * float(other.abs().max()))
    for needed in ((True, False), (False, True)):
        for one, other, want in zip(
            pointwise.gradients(functions, x, d, filters, needed=needed), found, needed, strict=True
        ):
            assert (one is not None) == want
            assert one is None or torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, d, w: (x, d[:, :4], w[:4]), "for filters of"),
        (lambda x, d, w: (x[:, :8], d, w), "for filters of"),
        (lambda x, d, w: (x, d[:, :, 1:], w), "outputs of"),
        (lambda x, d, w: (x.contiguous(), d, w), "not channels last"),
        (lambda x, d, w: (maps(2, 24, 4, 5)[:, :20], d, w[:, :20]), "not channels last"),
        (lambda x, d, w: (x.float(), d, w), "all are of one type"),
    ],
)
def test_a_backward_pass_beyond_the_end_is_refused(change: Callable[..., Any], message: str) -> None:
    functions = compiling.library(torch.float64, "pointwise")
    assert functions is not None
    with pytest.raises(RuntimeError, match=message):
        pointwise.gradients(functions, *change(*gradients_of((2, 24, 4, 5), 8, torch.float64)))


def test_its_way_back_does_not_depend_on_the_number_of_threads() -> None:
    given, before = gradients_of((8, 160, 28, 28), 192, torch.float32), torch.get_num_threads()
    functions = compiling.library(torch.float32, "pointwise")
    assert functions is not None
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(pointwise.gradients(functions, *given))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


BOTTLENECKS = "densenet_bc_l22_k24|classes:10"


def both(**how: bool) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """A plain network, a fused one, and enough images for both."""
    network = cw.network(BOTTLENECKS)
    plain, fused = (
        cw.build(network, seed=0, **options).to(torch.float64, memory_format=torch.channels_last)
        for options in ({}, {"fused": True} | how)
    )
    return plain, fused, images(network, 8, torch.float64)


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_layers_of_dense_blocks_are_computed_so(used: list[tuple[int, ...]], memory_efficient: bool) -> None:
    plain, fused, x = both(memory_efficient=memory_efficient)
    expected = outcome(plain, x)
    assert not used
    assert_close(outcome(fused, x), expected, 1e-8)
    assert used == [(96, channels, 1, 1) for channels in (48, 72, 96, 60, 84, 108, 66, 90, 114)]


@pytest.mark.parametrize("frozen", ["conv1", "norm1", "dense1", "stem"])
def test_layers_of_which_parts_are_frozen(frozen: str) -> None:
    plain, fused, x = both()
    for module in (plain, fused):
        for name, weight in module.named_parameters():
            weight.requires_grad_(frozen not in name)
    assert_close(outcome(fused, x), outcome(plain, x), 1e-8)


def test_what_is_hung_on_a_convolution_is_called(used: list[tuple[int, ...]]) -> None:
    plain, fused, x = both()
    name = "dense1.block2.new.conv1"
    for module in (plain, fused):
        prune.l1_unstructured(module.get_submodule(name), "weight", 0.5)
    for _ in range(2):  # pruning computes its weight anew before each step
        assert_close(outcome(fused, x), outcome(plain, x), 1e-8)
        for module in (plain, fused):
            module.zero_grad()
    assert (96, 72, 1, 1) not in used
    called = []
    fused.get_submodule("dense1.block1.new.conv1").register_forward_hook(lambda *_: called.append(True))
    fused(x)
    assert called


def test_it_is_for_full_precision_and_fused_operators(used: list[tuple[int, ...]]) -> None:
    network = cw.network(BOTTLENECKS)
    x = images(network, 8)
    with torch.autocast("cpu", torch.bfloat16):
        cw.build(network, seed=0, fused=True)(x).sum().backward()
    cw.build(network, seed=0, memory_efficient=True, fused=False)(x).sum().backward()
    cw.build(network, seed=0, fused=True).eval()(x)
    assert not used


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(48, 16, 1, bias=False), True),
        (pointwise.PointwiseConv2d(48, 64, 1, bias=False), True),
        (nn.Conv2d(48, 16, 1), False),
        (nn.Conv2d(48, 24, 1, bias=False), False),
        (nn.Conv2d(40, 16, 1, bias=False), False),
        (nn.Conv2d(48, 16, 3, bias=False), False),
        (nn.Conv2d(48, 16, 1, stride=2, bias=False), False),
        (nn.Conv2d(48, 16, 1, padding=1, bias=False), False),
        (nn.Conv2d(48, 16, 1, groups=2, bias=False), False),
        (nn.Conv2d(48, 16, 1, bias=False, dtype=torch.float64), False),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(48, 16, 1, bias=False)), False),
        (nn.Identity(), False),
    ],
)
def test_which_convolutions_it_is_for(conv: nn.Module, expected: bool) -> None:
    channels = conv.in_channels if isinstance(conv, nn.Conv2d) else 48
    x = torch.zeros(8, channels, 8, 8)
    assert (pointwise.functions_for(conv, x) is not None) == expected
    assert pointwise.functions_for(conv, x[:4]) is None
    assert pointwise.functions_for(conv, x.to("meta")) is None


def test_weights_that_change_before_the_backward_pass_are_an_error() -> None:
    _, fused, x = both()
    loss = fused(x).sum()
    with torch.no_grad():
        fused.get_parameter("dense1.block1.new.conv1.weight").mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()

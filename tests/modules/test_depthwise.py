"""The way back through depthwise convolutions against torch's: gradients, when it is used, what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from convwright.modules.combinators import SameConv2d
from convwright.modules.fused import depthwise
from convwright.modules.fused import library as compiling
from convwright.modules.fused.depthwise import DepthwiseConv2d, SameDepthwiseConv2d, gradients
from convwright.modules.fused.kernels import real

from .test_fused import assert_close, outcome, pair
from .test_kernels import maps

pytestmark = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")

SHARES = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""How far gradients of maps may be off, as a share of the largest of them."""
FILTER_SHARES = SHARES | {torch.bfloat16: 1e-4}
"""The same for gradients of filters, which have 32 bits for maps of 16."""


def drawn(shape: tuple[int, ...], side: int, stride: int, padding: int, dtype: torch.dtype) -> tuple[Any, ...]:
    x = maps(*shape, dtype=dtype)
    weight = maps(shape[1], 1, side, side, seed=1, dtype=real(x))
    y = functional.conv2d(x.to("meta"), weight.to("meta", dtype), None, stride, padding, 1, shape[1])
    d = maps(*y.shape, seed=2, dtype=dtype)
    return x, d, weight, stride, (padding,) * 4


def own(
    x: torch.Tensor, *more: Any, needed: tuple[bool, bool] = (True, True)
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    functions = compiling.library(x.dtype, "depthwise")
    assert functions is not None
    return gradients(functions, x, *more, needed=needed)


def assert_gradients(x: torch.Tensor, d: torch.Tensor, weight: torch.Tensor, stride: int, pads: depthwise.Pads) -> None:
    x, weight = x.requires_grad_(), weight.requires_grad_()
    exact = functional.conv2d(x.double(), weight.double(), None, stride, pads[0], 1, len(weight))
    expected = torch.autograd.grad(exact, (x, weight), d.double())
    results = own(x.detach(), d, weight, stride, pads)
    for found, other, shares in zip(results, expected, (SHARES, FILTER_SHARES), strict=True):
        assert found is not None
        assert found.dtype == other.dtype
        share = shares[x.dtype]
        torch.testing.assert_close(found, other, rtol=share, atol=share * float(other.abs().max()), check_dtype=False)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 3),
    st.sampled_from([16, 48]),
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
    st.sampled_from([3, 5, 7]),
    st.sampled_from([1, 2]),
    st.sampled_from([torch.float64, torch.bfloat16]),
    st.data(),
)
def test_maps_of_any_size(
    count: int,
    channels: int,
    sides: tuple[int, int],
    side: int,
    stride: int,
    dtype: torch.dtype,
    data: st.DataObject,
) -> None:
    least = max(0, -(-(side - min(sides)) // 2))  # so that the filter fits
    padding = data.draw(st.integers(least, side - 1))
    assert_gradients(*drawn((count, channels, *sides), side, stride, padding, dtype))


@pytest.mark.parametrize("dtype", SHARES, ids=str)
@pytest.mark.parametrize(
    ("shape", "side", "stride"),
    [
        ((11, 32, 15, 15), 3, 1),  # more images than pieces
        ((2, 288, 20, 21), 5, 2),  # several groups of channels
        ((2, 96, 60, 61), 5, 1),  # several runs of rows
        ((1, 96, 112, 112), 3, 2),
        ((2, 16, 9, 8), 7, 2),
    ],
)
def test_work_cut_into_pieces(shape: tuple[int, ...], side: int, stride: int, dtype: torch.dtype) -> None:
    assert_gradients(*drawn(shape, side, stride, side // 2, dtype))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("sides", [(1, 1), (4, 7), (9, 6), (12, 12)])
def test_pads_that_depend_on_the_maps(sides: tuple[int, int], side: int, stride: int) -> None:
    usual, own = (
        kind(32, 32, side, stride, groups=32, dtype=torch.float64) for kind in (SameConv2d, SameDepthwiseConv2d)
    )
    own.load_state_dict(usual.state_dict())
    found = []
    for conv in (usual, own):
        x = maps(2, 32, *sides).requires_grad_()
        y = conv(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, *conv.parameters()])))
    torch.testing.assert_close(*found)


def test_nothing_depends_on_the_number_of_threads() -> None:
    taken, before = drawn((16, 96, 14, 14), 5, 1, 2, torch.float32), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(own(*taken))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_only_needed_gradients_are_computed() -> None:
    taken = drawn((2, 16, 6, 6), 3, 1, 1, torch.float64)
    whole = own(*taken)
    for needed in ((True, False), (False, True), (False, False)):
        for found, expected, want in zip(own(*taken, needed=needed), whole, needed, strict=True):
            assert (found is not None) == want
            assert found is None or torch.equal(found, expected)


Given = tuple[Any, ...]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, d, w, s, p: (x, d, w[:, :, :2, :2], s, p), "are not supported"),
        (lambda x, d, w, s, p: (x, d, w.expand(-1, 2, -1, -1), s, p), "are not supported"),
        (lambda x, d, w, s, p: (x, d, w, 3, p), "are not supported"),
        (lambda x, d, w, s, p: (x, d, w, s, (3, 0, 0, 0)), "are not supported"),
        (lambda x, d, w, s, p: (x[:, :8], d[:, :8], w[:8], s, p), "for filters of"),
        (lambda x, d, w, s, p: (x, d.float(), w, s, p), "for filters of"),
        (lambda x, d, w, s, p: (x, d, w.float(), s, p), "for filters of"),
        (lambda x, d, w, s, p: (x[:0], d[:0], w, s, p), "for filters of"),
        (lambda x, d, w, s, p: (x, d[:, :, 1:], w, s, p), "a gradient of"),
        (lambda x, d, w, s, p: (x, d, w, s, (-1, 3, 1, 1)), "are not supported"),
        (lambda x, d, w, s, p: (x[:, :, :1], d[:, :, :0], w, s, (0, 1, 1, 1)), "for filters of"),
        (lambda x, d, w, s, p: (x.contiguous(), d, w, s, p), "are not channels last"),
        (lambda x, d, w, s, p: (x, d.contiguous(), w, s, p), "are not channels last"),
    ],
)
def test_reads_beyond_the_end_are_refused(change: Callable[..., Given], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        own(*change(*drawn((2, 16, 6, 6), 3, 1, 1, torch.float64)))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of maps whose gradients were taken so."""
    shapes: list[tuple[int, ...]] = []

    def noting(functions: Any, x: torch.Tensor, *more: Any, **how: Any) -> Any:
        shapes.append(x.shape)
        return gradients(functions, x, *more, **how)

    monkeypatch.setattr(depthwise, "gradients", noting)
    return shapes


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0"])
def test_a_step_of_a_network_equals_the_plain_one(name: str, used: list[tuple[int, ...]]) -> None:
    plain, fused, x = pair(f"{name}|fit:32|scale:d=0.4,w=0.5|classes:10", torch.float64)
    expected = outcome(plain, x)
    assert not used
    assert_close(outcome(fused, x), expected, 1e-8)
    sides = [module.kernel_size[0] for module in fused.modules() if isinstance(module, DepthwiseConv2d)]
    assert len(used) >= sum(side > 3 for side in sides) > 0


@pytest.mark.parametrize(
    ("side", "size", "expected"),
    [(3, 14, True), (3, 13, False), (3, 3, False), (3, 2, True), (5, 7, True), (7, 3, True)],
)
def test_it_is_for_maps_that_are_worth_it(side: int, size: int, expected: bool, used: list[tuple[int, ...]]) -> None:
    conv = DepthwiseConv2d(32, 32, side, padding=side // 2, groups=32)
    x = maps(2, 32, size, size, dtype=torch.float32)
    conv(x).sum().backward()
    assert used == ([x.shape] if expected else [])

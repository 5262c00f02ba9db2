"""Winograd's method against the definition: maps, gradients, when it is used."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import convwright as cw
from convwright.modules.fused import library as compiling
from convwright.modules.fused import winograd
from convwright.modules.fused.convolution import ConvSpec
from convwright.modules.fused.winograd import WinogradConv2d

from .test_build import images
from .test_fused import assert_close, outcome

pytestmark = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")
WIDE = "cifar_resnet8|scale:w=2|classes:10"


class Always(WinogradConv2d):
    """Without asking whether it gains, nor for how many channels."""

    @classmethod
    def supports(cls, spec: ConvSpec) -> bool:
        return True

    def _is_faster(self, x: torch.Tensor) -> bool:
        return True


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def convolutions(into: int, out: int, dtype: torch.dtype, *, bias: bool = False) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Winograd's and torch's, of the same filters."""
    assert compiling.library(dtype, "winograd") is not None  # or torch's would be held to itself
    usual = nn.Conv2d(into, out, 3, padding=1, bias=bias, dtype=dtype)
    fast = Always(into, out, 3, padding=1, bias=bias, dtype=dtype)
    with torch.no_grad():
        for seed, parameter in enumerate(usual.parameters(), 5):
            parameter.copy_(drawn(*parameter.shape, dtype=dtype, seed=seed) / (9 * into) ** 0.5)
    fast.load_state_dict(usual.state_dict())
    return fast, usual


def gradients(conv: nn.Conv2d, x: torch.Tensor) -> list[torch.Tensor]:
    """Maps, and the gradients of the input and of each parameter."""
    x = x.clone().requires_grad_()
    y = conv(x)
    y.backward(drawn(*y.shape, dtype=y.dtype, seed=1))
    return [y.detach(), *(each.grad for each in (x, *conv.parameters()))]  # type: ignore[list-item]


@given(
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    channels_last=st.booleans(),
    bias=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_maps_of_any_size(
    batch: int, size: tuple[int, int], channels: tuple[int, int], channels_last: bool, bias: bool
) -> None:
    into, out = (16 * each for each in channels)
    fast, usual = convolutions(into, out, torch.float64, bias=bias)
    if channels_last:
        fast = fast.to(memory_format=torch.channels_last)
    x = drawn(batch, into, *size)
    for found, expected in zip(gradients(fast, x), gradients(usual, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", [(32, 48), (48, 16), (16, 80)])
def test_many_tiles(channels: tuple[int, int]) -> None:
    fast, usual = convolutions(*channels, torch.float64)
    x = drawn(5, channels[0], 30, 41)
    for found, expected in zip(gradients(fast, x), gradients(usual, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_filters_that_lie_unevenly() -> None:
    fast, usual = convolutions(32, 32, torch.float64)
    x = drawn(2, 32, 8, 8)
    expected = gradients(usual, x)
    wide = drawn(32, 32, 5, 5)
    for weight in (wide[:, :, 1:4, 1:4], wide[:, :, :3, :3].transpose(2, 3)):
        with torch.no_grad():
            weight.copy_(usual.weight)
        fast.weight = nn.Parameter(weight)
        for found, each in zip(gradients(fast, x), expected, strict=True):
            torch.testing.assert_close(found, each, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "shape", [(16, 128, 32, 28), (64, 64, 64, 14), (4, 256, 512, 7), (2, 48, 32, 9), (128, 32, 32, 28)]
)
def test_the_error_in_32_bits_is_within_the_documented_bound(shape: tuple[int, int, int, int]) -> None:
    batch, into, out, size = shape
    fast, usual = convolutions(into, out, torch.float32)
    x = drawn(batch, into, size, size, dtype=torch.float32).relu()
    shares = (5e-6, 5e-6, 2e-5)
    exact = gradients(copy.deepcopy(usual).double(), x.double())
    for share, found, expected in zip(shares, gradients(fast, x), exact, strict=True):
        assert (found - expected).norm() < share * expected.norm()


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    fast, _ = convolutions(48, 64, torch.float32)
    x, threads = drawn(5, 48, 19, 21, dtype=torch.float32), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            fast.zero_grad()
            found.append(gradients(fast, x))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_an_input_that_needs_no_gradient() -> None:
    fast, usual = convolutions(32, 32, torch.float64)
    x = drawn(2, 32, 8, 8)
    for conv in (fast, usual):
        conv(x).square().sum().backward()
    torch.testing.assert_close(fast.weight.grad, usual.weight.grad)


def test_a_frozen_convolution_hands_its_gradient_on() -> None:
    fast, usual = convolutions(32, 32, torch.float64)
    found = []
    for conv in (fast, usual):
        conv.requires_grad_(False)
        x = drawn(2, 32, 8, 8).requires_grad_()
        conv(x).square().sum().backward()
        assert conv.weight.grad is None
        found.append(x.grad)
    torch.testing.assert_close(*found)


def test_what_is_kept_for_the_gradient_may_come_back_in_another_layout() -> None:
    fast, usual = convolutions(32, 32, torch.float64)
    x = drawn(2, 32, 8, 9)
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept.contiguous()):
        found = gradients(fast, x)
    for one, expected in zip(found, gradients(usual, x), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-9)


def test_maps_of_other_channels_are_refused_as_torch_refuses_them() -> None:
    fast, usual = convolutions(32, 32, torch.float32)
    x = drawn(4, 48, 8, 8, dtype=torch.float32)
    for conv in (usual, fast):
        with pytest.raises(RuntimeError, match=r"expected input.*to have 32 channels, but got 48"):
            conv(x)


@pytest.mark.parametrize(
    ("x", "filters", "message"),
    [
        (drawn(2, 48, 8, 8), drawn(32, 32, 3, 3), r"maps of \(2, 48, 8, 8\) for filters of \(32, 32, 3, 3\)"),
        (drawn(2, 40, 8, 8), drawn(40, 40, 3, 3), "maps of"),
        (drawn(2, 32, 8, 8), drawn(32, 32, 3, 3), "not channels last"),
        (drawn(0, 32, 8, 8), drawn(32, 32, 3, 3), "not channels last"),
        (drawn(2, 32, 8, 8).to(memory_format=torch.channels_last), drawn(32, 32, 5, 5), "filters 3x3"),
    ],
)
def test_reads_beyond_the_end_are_refused(x: torch.Tensor, filters: torch.Tensor, message: str) -> None:
    functions = compiling.library(torch.float64, "winograd")
    assert functions is not None
    with pytest.raises(RuntimeError, match=message):
        winograd.convolve(functions, x, filters)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of maps that were convolved so."""
    shapes: list[tuple[int, ...]] = []
    convolve = winograd.convolve
    monkeypatch.setattr(
        winograd, "convolve", lambda given, x, *more, **how: shapes.append(x.shape) or convolve(given, x, *more, **how)
    )
    return shapes


def test_a_step_of_a_network_equals_the_plain_one(used: list[tuple[int, ...]]) -> None:
    network = cw.network(WIDE)
    plain, fused = (
        cw.build(network, seed=0, fused=fused).to(torch.float64, memory_format=torch.channels_last)
        for fused in (False, True)
    )
    x = images(network, 8, torch.float64)
    expected = outcome(plain, x)
    assert not used
    assert_close(outcome(fused, x), expected, 1e-8)
    assert len(used) == 2 * 4  # of each stage's convolutions those of stride 1 from 32 channels on, there and back
    assert {shape[2] for shape in used} == {32, 16, 8}


@pytest.mark.parametrize("expression", ["densenet_bc_l22_k32|classes:10", WIDE])
def test_beside_memory_efficient_operators(expression: str, used: list[tuple[int, ...]]) -> None:
    network = cw.network(expression)
    plain, memory_efficient = (
        cw.build(network, seed=0, memory_efficient=saving).to(torch.float64, memory_format=torch.channels_last)
        for saving in (False, True)
    )
    x = images(network, 4, torch.float64)
    assert_close(outcome(memory_efficient, x), outcome(plain, x), 1e-8)
    assert used


def test_filters_that_the_cache_does_not_hold_want_larger_batches(used: list[tuple[int, ...]]) -> None:
    conv = WinogradConv2d(512, 512, 3, padding=1, bias=False)
    for batch in (13, 14):
        conv(torch.zeros(batch, 512, 7, 7))
    assert used == [(14, 512, 7, 7)]


def test_it_is_for_training_in_full_precision_with_batches_that_are_worth_it(used: list[tuple[int, ...]]) -> None:
    conv = WinogradConv2d(32, 32, 3, padding=1, bias=False)
    x = drawn(16, 32, 12, 12, dtype=torch.float32)
    expected = nn.functional.conv2d(x, conv.weight, padding=1)
    conv.eval()
    assert torch.equal(conv(x), expected)
    conv.train()
    for few in (x[:1], x[:, :, :5, :5]):
        assert torch.equal(conv(few), nn.functional.conv2d(few, conv.weight, padding=1))
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert not used
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-4)
    assert used == [x.shape]

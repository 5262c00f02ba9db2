"""Compiled kernels against those in torch: values, shapes, types, and what they refuse to read."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from convwright.modules.fused import library as compiling
from convwright.modules.fused.kernels import ACTS, PLAIN, Compiled, compiled

pytestmark = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")

SHARES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far results may be off, as a share of the largest of them."""
SHAPES = [
    *((2, 1, 130, 131), (2, 3, 80, 71), (2, 7, 50, 49), (2, 20, 30, 29), (1, 33, 25, 24), (2, 130, 17, 16)),  # pieces
    *((1, 16, 1, 1), (3, 7, 1, 1), (2, 20, 1, 9), (2, 3, 9, 1), (1, 1, 1, 2), (1, 130, 3, 1)),
]
"""Cut into several pieces; with sides of one pixel; of one image; of channels that fill no vector."""


def maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn + 0.3).to(dtype).contiguous(memory_format=torch.channels_last)


def numbers(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return maps(*shape, 1, 1, seed=seed, dtype=dtype).flatten(1)


def kernels_for(x: torch.Tensor) -> Compiled:
    kernels = compiled(x)
    assert isinstance(kernels, Compiled)
    return kernels


Call = tuple[str, tuple[Any, ...]]


def calls(shape: tuple[int, ...], act: str, dtype: torch.dtype) -> list[Call]:
    """Each kernel in each of its ways."""
    images, channels = shape[:2]
    x, d, r = (maps(*shape, seed=seed, dtype=dtype) for seed in range(3))
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    scale, shift, mean = (numbers(1, channels, seed=seed, dtype=real)[0] for seed in range(3, 6))
    gate, squeezed = (numbers(images, channels, seed=seed, dtype=real) for seed in range(6, 8))
    masked = torch.relu(r)
    return [
        ("statistics", (x,)),
        ("statistics_by_image", (x,)),
        ("forward", (x, scale, shift, act)),
        ("forward", (x, scale, shift, act, gate, r)),
        ("forward", (x, scale, shift, act, gate, r, True)),
        ("squeeze", (x, scale, shift, act)),
        ("gate_backward", (d, None, x, scale, shift, mean, act)),
        ("gate_backward", (d, masked, x, scale, shift, mean, act)),
        ("backward_sums", (d, masked, None, None, x, scale, shift, mean, act)),
        ("backward_sums", (d, None, gate, squeezed, x, scale, shift, mean, act)),
        ("backward_sums", (d, masked, gate, squeezed, x, scale, shift, mean, act)),
        ("backward_input", (d, masked, None, None, x, scale, shift, mean, mean, act)),
        ("backward_input", (d, None, gate, squeezed, x, scale, shift, mean, mean, act)),
        ("backward_input", (d, masked, gate, squeezed, x, scale, shift, mean, mean, act)),
    ]


def doubled(argument: Any) -> Any:
    return argument.double() if isinstance(argument, torch.Tensor) else argument


def assert_near(found: Any, expected: Any, dtype: torch.dtype, name: str) -> None:
    """Results of a kernel, and of torch in float64."""
    for one, other in zip(_apart(found), _apart(expected), strict=True):
        share = SHARES[dtype]
        torch.testing.assert_close(one.double(), other, rtol=share, atol=share * float(other.abs().max()), msg=name)


def _apart(results: Any) -> Iterator[torch.Tensor]:
    """Each result by itself, and each of the sums of a gate's backward pass, which are of different sizes."""
    for result in (results,) if isinstance(results, torch.Tensor) else results:
        yield from result if result.ndim == 3 else (result,)


@pytest.mark.parametrize("channels", [3, 16, 20])
@pytest.mark.parametrize("act", ACTS)
def test_each_kernel_equals_torch(act: str, channels: int) -> None:
    for name, arguments in calls((3, channels, 5, 7), act, torch.float64):
        kernels = kernels_for(arguments[0])
        torch.testing.assert_close(getattr(kernels, name)(*arguments), getattr(PLAIN, name)(*arguments), msg=name)


@pytest.mark.parametrize("act", ["silu", "identity", "relu"])
@pytest.mark.parametrize("dtype", SHARES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_kernel_equals_torch_for_maps_of_any_shape(shape: tuple[int, ...], dtype: torch.dtype, act: str) -> None:
    for name, arguments in calls(shape, act, dtype):
        found = getattr(kernels_for(arguments[0]), name)(*arguments)
        assert_near(found, getattr(PLAIN, name)(*map(doubled, arguments)), dtype, name)


def gathering(dtype: torch.dtype, shape: tuple[int, ...], place: slice, act: str) -> list[tuple[Any, ...]]:
    """What reads some channels of wider maps: by kernels, and by torch in float64."""
    images, channels, height, width = shape
    wide, d = maps(images, channels + 5, height, width, dtype=dtype), maps(*shape, seed=1, dtype=dtype)
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    given = [numbers(1, channels, seed=seed, dtype=real)[0] for seed in range(2, 5)]
    results = []
    for kernels, convert in ((kernels_for(wide), lambda each: each), (PLAIN, doubled)):
        x, (scale, shift, mean) = convert(wide)[:, place], map(convert, given)
        gathered = convert(maps(images, channels + 5, height, width, seed=9, dtype=dtype))
        sums = kernels.gather(convert(d), x, scale, shift, mean, act, gathered[:, place])
        summed = [kernels.forward(one, scale, shift, act, None, gathered[:, place]) for one in (x, convert(d))]
        results.append((*sums, gathered, *kernels.statistics(x), kernels.forward(x, scale, shift, act), *summed))
    return results


@pytest.mark.parametrize("channels", [3, 16, 20])
@pytest.mark.parametrize("act", ACTS)
def test_readers_of_some_of_the_channels_gather_their_gradients(act: str, channels: int) -> None:
    torch.testing.assert_close(*gathering(torch.float64, (2, channels, 4, 5), slice(0, channels), act))


@pytest.mark.parametrize("dtype", SHARES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_slices_of_channels_of_any_shape(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert_near(*gathering(dtype, shape, slice(2, 2 + shape[1]), "silu"), dtype, "a slice")


def no_images() -> object:
    x = maps(0, 4, 3, 3)
    return kernels_for(x).statistics(x)


def rows_of_pixels() -> object:
    x = maps(2, 4, 3, 3).contiguous(memory_format=torch.contiguous_format)
    return kernels_for(x).statistics(x)


def a_slice_where_maps_lie_close() -> object:
    x, one = maps(2, 8, 3, 3)[:, :4], torch.ones(4, dtype=torch.float64)
    return kernels_for(x).squeeze(x, one, one, "relu")


def every_second_pixel() -> object:
    x = maps(2, 4, 6, 6)[:, :, ::2]
    return kernels_for(x).statistics(x)


def one_image_spread_over_all() -> object:
    x = maps(1, 4, 3, 3).expand(2, 4, 3, 3)
    return kernels_for(x).statistics(x)


def too_few_scales() -> object:
    x, one = maps(2, 4, 3, 3), torch.ones(3, dtype=torch.float64)
    return kernels_for(x).forward(x, one, one, "relu")


def a_gate_for_one_image() -> object:
    x, one = maps(2, 4, 3, 3), torch.ones(4, dtype=torch.float64)
    return kernels_for(x).forward(x, one, one, "relu", one)


def a_gate_alone() -> object:
    x, one = maps(2, 4, 3, 3), torch.ones(4, dtype=torch.float64)
    return kernels_for(x).backward_sums(x, None, one.expand(2, 4).contiguous(), None, x, one, one, one, "relu")


def a_smaller_residual() -> object:
    x, one = maps(2, 4, 3, 3), torch.ones(4, dtype=torch.float64)
    return kernels_for(x).forward(x, one, one, "relu", None, x[:1])


def gradients_gathered_elsewhere() -> object:
    x, one = maps(2, 8, 3, 3)[:, :4], torch.ones(4, dtype=torch.float64)
    return kernels_for(x).gather(maps(2, 4, 3, 3), x, one, one, one, "relu", maps(2, 4, 3, 3))


def a_gate_for_a_scale() -> object:
    x, one = maps(2, 4, 3, 3), torch.ones(4, dtype=torch.float64)
    return kernels_for(x).forward(x, torch.ones(2, 4, dtype=torch.float64), one, "relu")


def scales_of_another_type() -> object:
    x, one = maps(2, 4, 3, 3), torch.ones(4)
    return kernels_for(x).forward(x, one, one, "relu")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (no_images, "statistics_of: maps of (0, 4, 3, 3) are empty"),
        (rows_of_pixels, "are not channels last"),
        (a_slice_where_maps_lie_close, "squeeze_of: (2, 4, 3, 3) at strides of (72, 1, 24, 8)"),
        (every_second_pixel, "are not channels last"),
        (one_image_spread_over_all, "are not channels last"),
        (too_few_scales, "forward_of: (3,) at strides of (1,), where (4,) is expected"),
        (a_gate_for_one_image, "where (2, 4) is expected"),
        (a_gate_for_a_scale, "where (4,) is expected"),
        (a_gate_alone, "must both be given, or neither"),
        (a_smaller_residual, "where (2, 4, 3, 3) is expected, channels last"),
        (gradients_gathered_elsewhere, "must have the layout of the maps"),
        (scales_of_another_type, "torch.float64 for the rest"),
    ],
)
def test_reads_beyond_the_end_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match=re.escape(message)):
        call()


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    x, d = (maps(4, 48, 37, 41, seed=seed, dtype=torch.float32) for seed in range(2))
    one = torch.ones(48)
    kernels, before = compiled(x), torch.get_num_threads()
    assert kernels is not None
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([*kernels.statistics(x), *kernels.gate_backward(d, None, x, one, one, one, "silu")])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_the_variance_is_kept_beside_a_large_mean() -> None:
    x = maps(4, 16, 30, 30, dtype=torch.float32) + 1000
    mean, variance, means = compiled(x).statistics_by_image(x)  # type: ignore[union-attr]
    torch.testing.assert_close(means, x.double().mean((2, 3)).float(), rtol=1e-6, atol=0)
    expected = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(variance.double(), expected[0], rtol=1e-3, atol=0)
    torch.testing.assert_close(mean.double(), expected[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("act", ["identity", "relu"])
def test_the_gradient_of_a_gate_beside_a_large_mean(act: str) -> None:
    x, d = maps(4, 16, 30, 30, dtype=torch.float32) + 100, maps(4, 16, 30, 30, seed=1, dtype=torch.float32)
    given = (torch.full((16,), 2.0), torch.full((16,), -200.0), torch.full((16,), 100.0))
    _, found = compiled(x).gate_backward(d, None, x, *given, act)  # type: ignore[union-attr]
    _, expected = PLAIN.gate_backward(d.double(), None, x.double(), *(each.double() for each in given), act)
    assert_near(found, expected, torch.float32, "sums")


@pytest.mark.parametrize("act", ACTS)
def test_what_is_no_number_stays_none(act: str) -> None:
    x, one = torch.full((2, 16, 3, 3), float("nan")).to(memory_format=torch.channels_last), torch.ones(16)
    assert compiled(x).forward(x, one, one, act).isnan().all()  # type: ignore[union-attr]

"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray, 2016, section 4.3).

Sixteen outputs of a pair of channels take 36 multiplications instead of 144, and some additions. This is faster where
multiplications take most of the time, as in training in 32 bits (`benchmarks/training.py`). Sums have another order and
some larger terms than in a direct convolution: the relative error in 32 bits is below 5e-6 for outputs and below 2e-5
for the gradients of filters.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from convwright.modules.fused.convolution import VECTOR, CompiledConv2d, ConvSpec
from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import call, int64, workspace

TILE, FREQUENCIES = 4, 36
MIN_CHANNELS = 32
"""Smallest number of input and of output channels for which it is faster."""
CACHED_PAIRS = 1 << 18
"""Number of pairs of channels whose frequencies no longer fit into the processor's cache."""
MIN_SAVED, MIN_SAVED_UNCACHED = 2000, 4000
"""Multiplications that a batch must save per pair of channels to make up for the transformation of the filters: if the
cache holds their frequencies, and if it does not."""


class WinogradConv2d(CompiledConv2d):
    """A 3x3 convolution of stride 1 and padding 1 by Winograd's method; torch's if a batch is too small."""

    source = "winograd"

    @classmethod
    def supports(cls, spec: ConvSpec) -> bool:
        """Return whether input and output channels fill whole vectors."""
        many = all(each >= MIN_CHANNELS and each % VECTOR == 0 for each in (spec.channels, spec.out))
        return many and spec[2:] == ((3, 3), (1, 1), (1, 1), (1, 1), 1, False, "zeros")

    def _is_faster(self, x: Tensor) -> bool:
        images, _, height, width = x.shape
        usual, minimal = 9 * height * width, FREQUENCIES * -(-height // TILE) * -(-width // TILE)
        worth = MIN_SAVED if self.in_channels * self.out_channels < CACHED_PAIRS else MIN_SAVED_UNCACHED
        return 2 * minimal <= usual and images * (usual - minimal) >= worth

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        output: Tensor = _Winograd.apply(x, weight, functions)
        return output


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.functions = functions
        return convolve(functions, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        x, d = channels_last(x), channels_last(d)
        d_x = convolve(ctx.functions, d, weight, back=True) if ctx.needs_input_grad[0] else None
        d_weight = filter_gradient(ctx.functions, x, d, weight) if ctx.needs_input_grad[1] else None
        return d_x, d_weight, None


def convolve(functions: ctypes.CDLL, x: Tensor, weight: Tensor, *, back: bool = False) -> Tensor:
    """Return the output of a convolution.

    Args:
        functions: The compiled library.
        x: Input maps, channels last.
        weight: Filters, out x C x 3 x 3.
        back: Compute the gradient of the input instead: a convolution of the output's gradient with rotated filters.

    Raises:
        RuntimeError: A tensor has another layout in memory, or its size is not supported.
    """
    filters = _evenly_strided(weight.detach())
    filters = filters.transpose(0, 1) if back else filters
    y = torch.empty((len(x), len(filters), *x.shape[2:]), dtype=x.dtype, memory_format=torch.channels_last)
    _check(filters, x, y)
    sizes = _sizes(x, len(filters))
    given = (filters, *_strides(filters), int(back), y, workspace(functions.convolve_workspace, *sizes, dtype=x.dtype))
    call(functions.convolve_of, x, *sizes, *given)
    return y


def filter_gradient(functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the filters, in their layout.

    Raises:
        RuntimeError: A tensor has another layout in memory, or its size is not supported.
    """
    gradient = torch.empty_like(_evenly_strided(weight))
    _check(gradient, x, d)
    sizes = _sizes(x, len(weight))
    given = (gradient, *_strides(gradient), workspace(functions.filter_gradient_workspace, *sizes, dtype=x.dtype))
    call(functions.filter_gradient_of, x, d, *sizes, *given)
    return gradient


def _check(filters: Tensor, x: Tensor, y: Tensor) -> None:
    """Raise RuntimeError if memory beyond a tensor would be read or written."""
    out, channels, *kernel = filters.shape
    for maps, each in ((x, channels), (y, out)):
        if maps.shape[1] != each or each % VECTOR or maps.dtype != filters.dtype or maps.shape[2:] != x.shape[2:]:
            raise RuntimeError(f"maps of {tuple(maps.shape)} for filters of {tuple(filters.shape)}, {filters.dtype}")
        if not maps.numel() or not maps.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError(f"maps of {tuple(maps.shape)} at strides of {maps.stride()} are not channels last")
    if kernel != [3, 3] or len(x) != len(y):
        raise RuntimeError(
            f"{len(x)} and {len(y)} images, filters of {tuple(kernel)}: the numbers must be equal, and filters 3x3"
        )


def _sizes(x: Tensor, out: int) -> tuple[ctypes.c_int64, ...]:
    images, channels, height, width = x.shape
    return int64(images, height, width, channels, out)


def _evenly_strided(filters: Tensor) -> Tensor:
    """Return filters whose nine values are evenly spaced in memory, which slices of other tensors may not be."""
    return filters if filters.stride(2) == 3 * filters.stride(3) else filters.contiguous()


def _strides(filters: Tensor) -> tuple[ctypes.c_int64, ...]:
    """Return the distances in memory between inputs, between outputs, and between the nine values of a filter."""
    out, channels, _, step = filters.stride()
    return int64(channels, out, step)

"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray, 2016, section 4.3).

Sixteen outputs of a pair of channels take 36 multiplications, not 144, and some additions: where the processor's time
goes into multiplications, as it does in training in 32 bits, that is quicker (`benchmarks/training.py`). It adds up in
another order numbers some of which are larger: its relative error in 32 bits stays below 5e-6 for outputs and 2e-5 for
the gradients of filters.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from convwright.modules.fused.convolution import VECTOR, Form, OwnConv2d
from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import call, int64, room

TILE, FREQUENCIES = 4, 36
LEAST = 32
"""Channels, on both sides, from which on it is quicker."""
CACHED = 1 << 18
"""Pairs of channels from which on the processor's cache does not hold their frequencies."""
WORTH, WORTH_BEYOND = 2000, 4000
"""Multiplications that a batch has to save for each pair of channels, as filters are transformed every time: where the
cache holds them, and beyond."""


class WinogradConv2d(OwnConv2d):
    """A convolution of 3x3 and stride 1, padded by 1, by Winograd's method; torch's where batches are too small."""

    source = "winograd"

    @classmethod
    def supports(cls, form: Form) -> bool:
        """With whole vectors of channels on both sides."""
        many = all(each >= LEAST and each % VECTOR == 0 for each in (form.channels, form.out))
        return many and form[2:] == ((3, 3), (1, 1), (1, 1), (1, 1), 1, False, "zeros")

    def _gains(self, x: Tensor) -> bool:
        images, _, height, width = x.shape
        usual, minimal = 9 * height * width, FREQUENCIES * -(-height // TILE) * -(-width // TILE)
        worth = WORTH if self.in_channels * self.out_channels < CACHED else WORTH_BEYOND
        return 2 * minimal <= usual and images * (usual - minimal) >= worth

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        return _Winograd.apply(x, weight, functions)


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
    """Return the maps of a convolution.

    back: of its gradients, which is a convolution too, by the same filters turned by half a circle. RuntimeError if
    something does not lie in memory as it is read.
    """
    filters = _evenly(weight.detach())
    filters = filters.transpose(0, 1) if back else filters
    y = torch.empty((len(x), len(filters), *x.shape[2:]), dtype=x.dtype, memory_format=torch.channels_last)
    _check(filters, x, y)
    sizes = _sizes(x, len(filters))
    given = (filters, *_strides(filters), int(back), y, room(functions.convolve_room, *sizes, dtype=x.dtype))
    call(functions.convolve_of, x, *sizes, *given)
    return y


def filter_gradient(functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the filters, which lies in memory as they do. RuntimeError as `convolve`."""
    gradient = torch.empty_like(_evenly(weight))
    _check(gradient, x, d)
    sizes = _sizes(x, len(weight))
    given = (gradient, *_strides(gradient), room(functions.filter_gradient_room, *sizes, dtype=x.dtype))
    call(functions.filter_gradient_of, x, d, *sizes, *given)
    return gradient


def _check(filters: Tensor, x: Tensor, y: Tensor) -> None:
    """RuntimeError if something would be read, or written, beyond its end."""
    out, channels, *kernel = filters.shape
    for maps, each in ((x, channels), (y, out)):
        if maps.shape[1] != each or each % VECTOR or maps.dtype != filters.dtype or maps.shape[2:] != x.shape[2:]:
            raise RuntimeError(f"maps of {tuple(maps.shape)} for filters of {tuple(filters.shape)}, {filters.dtype}")
        if not maps.numel() or not maps.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError(f"maps of {tuple(maps.shape)} at strides of {maps.stride()} are not channels last")
    if kernel != [3, 3] or len(x) != len(y):
        raise RuntimeError(f"{len(x)} and {len(y)} images, filters of {tuple(kernel)}: as many are read, of 3x3")


def _sizes(x: Tensor, out: int) -> tuple[ctypes.c_int64, ...]:
    images, channels, height, width = x.shape
    return int64(images, height, width, channels, out)


def _evenly(filters: Tensor) -> Tensor:
    """Filters whose nine numbers lie evenly in memory, as they do unless somebody has cut them out of others."""
    return filters if filters.stride(2) == 3 * filters.stride(3) else filters.contiguous()


def _strides(filters: Tensor) -> tuple[ctypes.c_int64, ...]:
    """From one input to the next, from one output to the next, from one of the nine to the next."""
    out, channels, _, step = filters.stride()
    return int64(channels, out, step)

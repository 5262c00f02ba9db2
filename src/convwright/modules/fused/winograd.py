"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray, 2016, section 4.3).

Sixteen outputs of a pair of channels take 36 multiplications, not 144, and some additions: where the processor's time
goes into multiplications, as it does in training in 32 bits, that is about half of the time. It adds up in another
order numbers some of which are larger: its relative error is about 2e-6 in 32 bits for outputs and 1e-5 for the
gradients of filters, where that of the definition is 1e-6.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from convwright.arch import layers as graph
from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import call, library

TILE, FREQUENCIES = 4, 36
VECTOR = 16
"""Numbers that the widest registers hold, of which channels are to be a multiple."""
LEAST = 32
"""Channels, on both sides, from which on it is quicker."""
SKEW = 16
"""Numbers between one frequency's filters and the next's, as in winograd.cpp."""
CACHED = 1 << 18
"""Pairs of channels from which on the processor's cache does not hold their frequencies."""
WORTH, WORTH_BEYOND = 2000, 8000
"""Multiplications that a batch has to save for each pair of channels, as filters are transformed every time: where
the cache holds them, and beyond."""


def suits(conv: graph.Conv, channels: int) -> bool:
    """Is this a convolution that can be quicker so?"""
    same_size = (conv.kernel, conv.stride, conv.dilation, conv.groups) == (3, 1, 1, 1) and conv.padding in (None, 1)
    return same_size and not conv.same and all(c >= LEAST and c % VECTOR == 0 for c in (channels, conv.out))


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1, padded by 1, by Winograd's method.

    It is torch's own in inference, in mixed precision, on other devices, and where maps or batches are too small.
    """

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x out x H x W."""
        functions = library(x.dtype, "winograd") if self._learns(x) and self._gains(x) else None
        if functions is None:
            return super().forward(x)
        y = _Convolve.apply(channels_last(x), self.weight, functions)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _learns(self, x: Tensor) -> bool:
        usual = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.dtype == self.weight.dtype
        return self.training and usual and x.ndim == 4 and not torch.is_autocast_enabled("cpu")

    def _gains(self, x: Tensor) -> bool:
        images, _, height, width = x.shape
        usual, minimal = 9 * height * width, FREQUENCIES * -(-height // TILE) * -(-width // TILE)
        worth = WORTH if self.in_channels * self.out_channels < CACHED else WORTH_BEYOND
        return 2 * minimal <= usual and images * (usual - minimal) >= worth


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.functions = functions
        return convolve(functions, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d = channels_last(d)
        d_x = convolve(ctx.functions, d, weight, back=True) if ctx.needs_input_grad[0] else None
        d_weight = filter_gradient(ctx.functions, x, d, weight) if ctx.needs_input_grad[1] else None
        return d_x, d_weight, None


def convolve(functions: ctypes.CDLL, x: Tensor, weight: Tensor, *, back: bool = False) -> Tensor:
    """Return the maps of a convolution, from maps in torch's channels-last format.

    back: of its gradients, which is a convolution too, by the same filters turned by half a circle.
    """
    filters = _evenly(weight.detach())
    filters = filters.transpose(0, 1) if back else filters
    y = torch.empty((len(x), len(filters), *x.shape[2:]), dtype=x.dtype, memory_format=torch.channels_last)
    given = (filters, *_strides(filters), int(back), y, _frequencies(weight))
    call(functions.convolve_of, x, *_sizes(x, len(filters)), *given)
    return y


def filter_gradient(functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the filters, which lies in memory as they do, from maps and gradients in channels last."""
    gradient = torch.empty_like(_evenly(weight))
    given = (_frequencies(weight), gradient, *_strides(gradient))
    call(functions.filter_gradient_of, x, d, *_sizes(x, len(weight)), *given)
    return gradient


def _sizes(x: Tensor, out: int) -> tuple[ctypes.c_int64, ...]:
    images, channels, height, width = x.shape
    return tuple(map(ctypes.c_int64, (images, height, width, channels, out)))


def _evenly(filters: Tensor) -> Tensor:
    """Filters whose nine numbers lie evenly in memory, as they do unless somebody has cut them out of others."""
    return filters if filters.stride(2) == 3 * filters.stride(3) else filters.contiguous()


def _strides(filters: Tensor) -> tuple[ctypes.c_int64, ...]:
    """From one input to the next, from one output to the next, from one of the nine to the next."""
    out, channels, _, step = filters.stride()
    return tuple(map(ctypes.c_int64, (channels, out, step)))


def _frequencies(weight: Tensor) -> Tensor:
    """Room for the filters' 36 frequencies."""
    return torch.empty(FREQUENCIES * (weight.shape[0] * weight.shape[1] + SKEW), dtype=weight.dtype)

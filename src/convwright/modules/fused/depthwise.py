"""Depthwise convolutions with a way back of their own.

Each channel has a filter to itself (Howard et al., 2017, section 3.1), so there is little to compute for what is read:
both gradients are taken in one pass over the maps, in vectors of channels. Forward it is torch's.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from convwright.arch import layers as graph
from convwright.arch.shapes import conv_padding, pair
from convwright.modules.fused.convolution import OwnConv2d
from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import call, int64

VECTOR = 16
"""Numbers that the widest registers hold, of which channels are to be a multiple."""
SIDES, STRIDES = (3, 5, 7), (1, 2)
"""Of the filters that it knows."""


def suits(conv: graph.Conv, channels: int) -> bool:
    """Is this a depthwise convolution with one filter a channel, of sides and strides that are known here?"""
    if conv.same or conv.dilation != 1 or not conv.groups == conv.out == channels or channels % VECTOR:
        return False
    (side, other), stride, padding = pair(conv.kernel), pair(conv.stride), conv_padding(conv)
    known = side in SIDES and stride[0] in STRIDES and padding[0] < side
    return known and side == other and stride[0] == stride[1] and padding[0] == padding[1]


class DepthwiseConv2d(OwnConv2d):
    """A convolution that `suits`."""

    source = "depthwise"

    def _gains(self, x: Tensor) -> bool:
        return True

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        assert isinstance(self.padding, tuple)
        return _Convolve.apply(x, weight, self.stride[0], self.padding[0], functions)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, functions: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = (stride, padding)
        ctx.functions = functions
        return functional.conv2d(x, weight, stride=stride, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[0]
        d_x, d_weight = gradients(ctx.functions, channels_last(x), channels_last(d), weight, *ctx.how, maps=wanted)
        return d_x, d_weight, None, None, None


def gradients(
    functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor, stride: int, padding: int, *, maps: bool = True
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of maps (None if they are not wanted) and of filters, C x 1 x K x K, as torch has them.

    x: N x C x H x W; d: the gradient of what the convolution makes of it. Both lie channels last. RuntimeError if
    something does not lie in memory as it is read.
    """
    filters = weight.detach().contiguous()
    _check(x, d, filters, stride, padding)
    d_x = torch.empty_like(x) if maps else None  # which keeps the layout
    gradient = torch.empty_like(filters)
    images, channels, height, width = x.shape
    side = filters.shape[2]
    functions.depthwise_back_room.restype = ctypes.c_int64
    room = functions.depthwise_back_room(*int64(images, channels, side))
    sizes = int64(images, height, width, channels, *d.shape[2:], side, stride, padding, padding)
    call(functions.depthwise_back_of, x, d, *sizes, filters, d_x, gradient, torch.empty(room, dtype=x.dtype))
    return d_x, gradient


def _check(x: Tensor, d: Tensor, filters: Tensor, stride: int, padding: int) -> None:
    """RuntimeError if something would be read, or written, beyond its end."""
    channels, *kernel = filters.shape
    side = kernel[-1]
    if kernel != [1, side, side] or side not in SIDES or stride not in STRIDES or not 0 <= padding < side:
        raise RuntimeError(f"filters of {tuple(filters.shape)}, stride {stride}, padding {padding} are not known here")
    if x.shape[1] != channels or channels % VECTOR or not x.numel() or not d.dtype == x.dtype == filters.dtype:
        raise RuntimeError(f"maps of {tuple(x.shape)}, {x.dtype} for filters of {tuple(filters.shape)}")
    sides = [(size + 2 * padding - side) // stride + 1 for size in x.shape[2:]]
    if list(d.shape) != [len(x), channels, *sides]:
        raise RuntimeError(f"a gradient of {tuple(d.shape)} for maps of {tuple(x.shape)}")
    for each in (x, d):
        if not each.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError(f"maps of {tuple(each.shape)} at strides of {each.stride()} are not channels last")

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
from convwright.modules.joints import SameConv2d

VECTOR = 16
"""Numbers that the widest registers hold, of which channels are to be a multiple."""
SIDES, STRIDES = (3, 5, 7), (1, 2)
"""Of the filters that it knows."""


Pads = tuple[int, int, int, int]
"""Pixels added above, below, on the left and on the right."""


def suits(conv: graph.Conv, channels: int) -> bool:
    """Is this a depthwise convolution with one filter a channel, of sides and strides that are known here?"""
    if conv.dilation != 1 or not conv.groups == conv.out == channels or channels % VECTOR:
        return False
    (side, other), stride, padding = pair(conv.kernel), pair(conv.stride), (0, 0) if conv.same else conv_padding(conv)
    return side == other and stride[0] == stride[1] and side in SIDES and stride[0] in STRIDES and max(padding) < side


class DepthwiseConv2d(OwnConv2d):
    """A convolution that `suits`."""

    source = "depthwise"

    def pads(self, x: Tensor) -> Pads:
        """Pixels added to maps like these."""
        assert isinstance(self.padding, tuple)
        height, width = self.padding
        return height, height, width, width

    def _gains(self, x: Tensor) -> bool:
        return True

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        return _Convolve.apply(x, weight, self.stride[0], self.pads(x), functions)


class SameDepthwiseConv2d(SameConv2d, DepthwiseConv2d):
    """One that is padded by the size of what comes in."""


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pads: Pads, functions: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = (stride, pads)
        ctx.functions = functions
        top, bottom, left, right = pads
        if (top, left) == (bottom, right):
            return functional.conv2d(x, weight, None, stride, (top, left), 1, len(weight))
        return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, None, stride, 0, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[0]
        d_x, d_weight = gradients(ctx.functions, channels_last(x), channels_last(d), weight, *ctx.how, maps=wanted)
        return d_x, d_weight, None, None, None


def gradients(
    functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor, stride: int, pads: Pads, *, maps: bool = True
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of maps (None if they are not wanted) and of filters, C x 1 x K x K, as torch has them.

    x: N x C x H x W; d: the gradient of what the convolution makes of it. Both lie channels last. RuntimeError if
    something does not lie in memory as it is read.
    """
    filters = weight.detach().contiguous()
    _check(x, d, filters, stride, pads)
    d_x = torch.empty_like(x) if maps else None  # which keeps the layout
    gradient = torch.empty_like(filters)
    images, channels, height, width = x.shape
    side, (top, _, left, _) = filters.shape[2], pads
    functions.depthwise_back_room.restype = ctypes.c_int64
    room = functions.depthwise_back_room(*int64(images, channels, side))
    sizes = int64(images, height, width, channels, *d.shape[2:], side, stride, top, left)
    call(functions.depthwise_back_of, x, d, *sizes, filters, d_x, gradient, torch.empty(room, dtype=x.dtype))
    return d_x, gradient


def _check(x: Tensor, d: Tensor, filters: Tensor, stride: int, pads: Pads) -> None:
    """RuntimeError if something would be read, or written, beyond its end."""
    channels, *kernel = filters.shape
    side, (top, bottom, left, right) = kernel[-1], pads
    known = side in SIDES and stride in STRIDES and all(0 <= each < side for each in pads)
    if kernel != [1, side, side] or not known:
        raise RuntimeError(f"filters of {tuple(filters.shape)}, stride {stride}, pads {pads} are not known here")
    if x.shape[1] != channels or channels % VECTOR or not x.numel() or not d.dtype == x.dtype == filters.dtype:
        raise RuntimeError(f"maps of {tuple(x.shape)}, {x.dtype} for filters of {tuple(filters.shape)}")
    height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
    if d.shape != (len(x), channels, (height - side) // stride + 1, (width - side) // stride + 1):
        raise RuntimeError(f"a gradient of {tuple(d.shape)} for maps of {tuple(x.shape)}")
    for each in (x, d):
        if not each.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError(f"maps of {tuple(each.shape)} at strides of {each.stride()} are not channels last")

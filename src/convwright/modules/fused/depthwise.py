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

from convwright.modules.combinators import SameConv2d
from convwright.modules.fused.convolution import VECTOR, Form, OwnConv2d
from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import call, int64, room

SIDES, STRIDES = (3, 5, 7), (1, 2)
"""Of the filters that it knows."""
LARGE, SMALL = 14, 2
"""Sides of maps from which on, and up to which, it is quicker for filters of 3x3 too."""
Pads = tuple[int, int, int, int]
"""Pixels added above, below, on the left and on the right."""


class DepthwiseConv2d(OwnConv2d):
    """A convolution with one filter a channel; forward, and for small maps, it is torch's."""

    source = "depthwise"

    @classmethod
    def supports(cls, form: Form) -> bool:
        """Of the sides and strides that are known here, with whole vectors of channels."""
        if not form.groups == form.out == form.channels or form.channels % VECTOR or form.mode != "zeros":
            return False
        if len({*form.kernel}) > 1 or len({*form.stride}) > 1 or form.dilation != (1, 1):
            return False
        side, padding = form.kernel[0], form.padding
        known = side in SIDES and form.stride[0] in STRIDES
        return known and isinstance(padding, tuple) and all(0 <= each < side for each in padding)

    def pads(self, x: Tensor) -> Pads:
        """Pixels added to maps like these."""
        assert isinstance(self.padding, tuple)
        height, width = self.padding
        return height, height, width, width

    def _gains(self, x: Tensor) -> bool:
        sides = x.shape[2:]
        return self.kernel_size[0] > min(SIDES) or min(sides) >= LARGE or max(sides) <= SMALL

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        return _Depthwise.apply(x, weight, self.stride[0], self.pads(x), functions)


class SameDepthwiseConv2d(SameConv2d, DepthwiseConv2d):
    """One that is padded by the size of what comes in."""


class _Depthwise(torch.autograd.Function):
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
        wanted = ctx.needs_input_grad[:2]
        given = (channels_last(x), channels_last(d), weight, *ctx.how)
        return *gradients(ctx.functions, *given, wanted=wanted), None, None, None


def gradients(
    functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor, stride: int, pads: Pads,
    *, wanted: tuple[bool, bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """Return the gradients of maps and of filters, C x 1 x K x K, as torch has them; None for one that is not wanted.

    x: N x C x H x W; d: the gradient of what the convolution makes of it. Both lie channels last. RuntimeError if
    something does not lie in memory as it is read.
    """
    filters = weight.detach().contiguous()
    _check(x, d, filters, stride, pads)
    d_x, gradient = (torch.empty_like(each) if want else None for each, want in zip((x, filters), wanted, strict=True))
    images, channels, height, width = x.shape
    side, (top, _, left, _) = filters.shape[2], pads
    work = room(functions.depthwise_back_room, *int64(images, channels, side), dtype=x.dtype)
    sizes = int64(images, height, width, channels, *d.shape[2:], side, stride, top, left)
    call(functions.depthwise_back_of, x, d, *sizes, filters, d_x, gradient, work)
    return d_x, gradient


def _check(x: Tensor, d: Tensor, filters: Tensor, stride: int, pads: Pads) -> None:
    """RuntimeError if something would be read, or written, beyond its end."""
    channels, *kernel = filters.shape
    side, (top, bottom, left, right) = kernel[-1], pads
    known = side in SIDES and stride in STRIDES and all(0 <= each < side for each in pads)
    if kernel != [1, side, side] or not known:
        raise RuntimeError(f"filters of {tuple(filters.shape)}, stride {stride}, pads {pads} are not known here")
    if (
        x.shape[1] != channels
        or channels % VECTOR
        or not x.numel()
        or not d.numel()
        or not d.dtype == x.dtype == filters.dtype
    ):
        raise RuntimeError(f"maps of {tuple(x.shape)}, {x.dtype} for filters of {tuple(filters.shape)}")
    height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
    if d.shape != (len(x), channels, (height - side) // stride + 1, (width - side) // stride + 1):
        raise RuntimeError(f"a gradient of {tuple(d.shape)} for maps of {tuple(x.shape)}")
    for each in (x, d):
        if not each.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError(f"maps of {tuple(each.shape)} at strides of {each.stride()} are not channels last")

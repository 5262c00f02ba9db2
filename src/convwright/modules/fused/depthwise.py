"""Depthwise convolutions with a compiled backward pass.

Each channel has its own filter (Howard et al. 2017, section 3.1), so that memory bandwidth limits the speed: both
gradients are computed in one pass over the maps, in vectors of channels. The forward pass is torch's. In mixed
precision maps have 16 bits, and filters, their gradient and all sums have 32.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from convwright.modules.combinators import SameConv2d
from convwright.modules.fused.convolution import VECTOR, CompiledConv2d, ConvSpec
from convwright.modules.fused.kernels import channels_last, real
from convwright.modules.fused.library import call, int64, workspace

KERNEL_SIZES, STRIDES = (3, 5, 7), (1, 2)
"""Supported sizes and strides of the filters."""
LARGE_MAP, SMALL_MAP = 14, 2
"""For 3x3 filters the compiled backward pass is faster on maps of at least, and of at most, this height and width."""
Pads = tuple[int, int, int, int]
"""Pixels added above, below, on the left and on the right."""


class DepthwiseConv2d(CompiledConv2d):
    """A convolution with one filter per channel; the forward pass, and the backward pass of small maps, are torch's."""

    source = "depthwise"
    reads_bfloat16 = True

    @classmethod
    def supports(cls, spec: ConvSpec) -> bool:
        """Return whether size and stride are supported and the channels fill whole vectors."""
        if not spec.groups == spec.out == spec.channels or spec.channels % VECTOR or spec.mode != "zeros":
            return False
        if len({*spec.kernel}) > 1 or len({*spec.stride}) > 1 or spec.dilation != (1, 1):
            return False
        side, padding = spec.kernel[0], spec.padding
        known = side in KERNEL_SIZES and spec.stride[0] in STRIDES
        return known and isinstance(padding, tuple) and all(0 <= each < side for each in padding)

    def pads(self, x: Tensor) -> Pads:
        """Return the padding of maps of this size."""
        assert isinstance(self.padding, tuple)
        height, width = self.padding
        return height, height, width, width

    def _is_faster(self, x: Tensor) -> bool:
        sides = x.shape[2:]
        return self.kernel_size[0] > min(KERNEL_SIZES) or min(sides) >= LARGE_MAP or max(sides) <= SMALL_MAP

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        output: Tensor = _Depthwise.apply(x, weight, self.stride[0], self.pads(x), functions)
        return output


class SameDepthwiseConv2d(SameConv2d, DepthwiseConv2d):
    """A depthwise convolution whose padding depends on the size of its input, as in TensorFlow."""


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pads: Pads, functions: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = (stride, pads)
        ctx.functions = functions
        top, bottom, left, right = pads
        weight = weight.to(x.dtype)
        if (top, left) == (bottom, right):
            return functional.conv2d(x, weight, None, stride, (top, left), 1, len(weight))
        return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, None, stride, 0, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        given = (channels_last(x), channels_last(d), weight, *ctx.how)
        return *gradients(ctx.functions, *given, needed=needed), None, None, None


def gradients(
    functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor, stride: int, pads: Pads,
    *, needed: tuple[bool, bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """Return the gradients of maps and filters; None for one that is not needed.

    Args:
        functions: The compiled library.
        x: Input maps, N x C x H x W, channels last.
        d: Gradient of the output, channels last.
        weight: Filters, C x 1 x K x K; of 32 bits for maps of 16.
        stride: Stride.
        pads: Padding above, below, on the left and on the right.
        needed: Whether the gradients of maps and of filters are needed.

    Raises:
        RuntimeError: A tensor has another layout in memory, or its size is not supported.
    """
    filters = weight.detach().contiguous()
    _check(x, d, filters, stride, pads)
    d_x, gradient = (torch.empty_like(each) if want else None for each, want in zip((x, filters), needed, strict=True))
    images, channels, height, width = x.shape
    side, (top, _, left, _) = filters.shape[2], pads
    work = workspace(functions.depthwise_back_workspace, *int64(images, channels, side), dtype=filters.dtype)
    sizes = int64(images, height, width, channels, *d.shape[2:], side, stride, top, left)
    call(functions.depthwise_back_of, x, d, *sizes, filters, d_x, gradient, work)
    return d_x, gradient


def _check(x: Tensor, d: Tensor, filters: Tensor, stride: int, pads: Pads) -> None:
    """Raise RuntimeError if memory beyond a tensor would be read or written."""
    channels, *kernel = filters.shape
    side, (top, bottom, left, right) = kernel[-1], pads
    known = side in KERNEL_SIZES and stride in STRIDES and all(0 <= each < side for each in pads)
    if kernel != [1, side, side] or not known:
        raise RuntimeError(f"filters of {tuple(filters.shape)}, stride {stride}, pads {pads} are not supported")
    if (
        x.shape[1] != channels
        or channels % VECTOR
        or not x.numel()
        or not d.numel()
        or d.dtype != x.dtype
        or filters.dtype != real(x)
    ):
        raise RuntimeError(f"maps of {tuple(x.shape)}, {x.dtype} for filters of {tuple(filters.shape)}")
    height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
    if d.shape != (len(x), channels, (height - side) // stride + 1, (width - side) // stride + 1):
        raise RuntimeError(f"a gradient of {tuple(d.shape)} for maps of {tuple(x.shape)}")
    for each in (x, d):
        if not each.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError(f"maps of {tuple(each.shape)} at strides of {each.stride()} are not channels last")

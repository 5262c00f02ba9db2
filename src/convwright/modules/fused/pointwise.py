"""1x1 convolutions: a compiled backward pass, and convolutions that normalise and activate maps while they read them.

Both gradients of a 1x1 convolution are matrix products over the same rows. A few rows at a time fit into the cache of
the processor, which then has them for the second product.

A layer of a dense block starts with normalisation, activation and such a convolution (Huang et al. 2017, section 3) of
all maps before it. In three operations, the activated maps and their gradient are written to memory and read again; in
one, both stay in the cache, and only the maps themselves are kept for the backward pass.

Maps are N x C x H x W, channels last, and may be the first channels of wider maps; filters are out x C x 1 x 1; scale,
shift and mean have C values each. As in `kernels`, z = x * scale + shift; act(z) is convolved.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from convwright.modules.fused.convolution import VECTOR, CompiledConv2d, ConvSpec
from convwright.modules.fused.kernels import ACTS, channels_last, stride_of
from convwright.modules.fused.library import call, int64, library, workspace
from convwright.modules.fused.norms import has_hooks

TILE = 8
"""Rows of a matrix product; output channels must be a multiple of it."""
MIN_CHANNELS, MANY_CHANNELS = 32, 1024
"""Smallest number of channels for which the backward pass is faster than torch's: with more output than input channels,
and with fewer."""
MIN_PIXELS = 512
"""Smallest number of pixels of a batch for which it is faster."""
MIN_READ_CHANNELS = 48
"""Smallest number of channels for which normalising maps while they are read is faster."""


class PointwiseConv2d(CompiledConv2d):
    """A 1x1 convolution; the forward pass, and the backward pass of few pixels, are torch's."""

    source = "pointwise"

    @classmethod
    def supports(cls, spec: ConvSpec) -> bool:
        """Return whether outputs fill whole tiles, and are more than the channels unless those are many."""
        usual = _is_pointwise(spec) and spec.out % TILE == 0
        return usual and spec.channels >= MIN_CHANNELS and (spec.out > spec.channels or spec.channels >= MANY_CHANNELS)

    def _is_faster(self, x: Tensor) -> bool:
        return x.numel() >= MIN_PIXELS * x.shape[1]

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        output: Tensor = _Pointwise.apply(x, weight, functions)
        return output


def _is_pointwise(spec: ConvSpec) -> bool:
    return spec[2:] in {((1, 1), (1, 1), (0, 0), (1, 1), 1, same, "zeros") for same in (False, True)}


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.functions = functions
        return functional.conv2d(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        return *gradients(ctx.functions, channels_last(x), channels_last(d), weight, needed=needed), None


def gradients(
    functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor, *, needed: tuple[bool, bool] = (True, True)
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of maps and filters; None for one that is not needed.

    Args:
        functions: The compiled library.
        x: Input maps, channels last.
        d: Gradient of the output, channels last.
        weight: Filters.
        needed: Whether the gradients of maps and of filters are needed.

    Raises:
        RuntimeError: A tensor has another layout in memory, or its size is not supported.
    """
    filters = weight.detach().contiguous()
    _check(x, filters, d, tile=TILE)
    stride, rows, channels = _sizes(x)
    if stride.value != channels.value:
        raise RuntimeError(f"maps of {tuple(x.shape)} at strides of {x.stride()} are not channels last")
    d_x, gradient = (torch.empty_like(each) if want else None for each, want in zip((x, filters), needed, strict=True))
    given = (rows, channels, filters, *int64(len(filters)), d_x, gradient)
    call(functions.pointwise_back_of, d, x, *given, _workspace(functions.read_back_workspace, x, filters))
    return d_x, gradient


def functions_for(conv: nn.Module, x: Tensor) -> ctypes.CDLL | None:
    """Return the compiled library for a convolution of normalised maps of this size; None to use torch."""
    if type(conv) not in (nn.Conv2d, PointwiseConv2d) or has_hooks(conv):
        return None
    assert isinstance(conv, nn.Conv2d)
    spec = ConvSpec.of_module(conv, conv.weight)
    if not _is_pointwise(spec) or conv.bias is not None or spec.out % VECTOR or spec.channels < MIN_READ_CHANNELS:
        return None
    if torch.is_autocast_enabled("cpu") or x.device.type != "cpu" or x.dtype != conv.weight.dtype:
        return None
    enough = x.dtype in (torch.float32, torch.float64) and x.numel() >= MIN_PIXELS * x.shape[1]
    return library(x.dtype, "pointwise") if enough else None


def convolve(
    functions: ctypes.CDLL, x: Tensor, scale: Tensor, shift: Tensor, act: str, filters: Tensor
) -> Tensor:  # fmt: skip
    """Return the convolution of act(z).

    Raises:
        RuntimeError: A tensor has another layout in memory, or its size is not supported.
    """
    filters = filters.detach().contiguous()
    y = torch.empty((len(x), len(filters), *x.shape[2:]), dtype=x.dtype, memory_format=torch.channels_last)
    _check(x, filters, y, scale, shift)
    given = (scale, shift, ACTS.index(act), filters, *int64(len(filters)), y)
    call(functions.read_of, x, *_sizes(x), *given, _workspace(functions.read_workspace, x, filters))
    return y


def convolve_back(
    functions: ctypes.CDLL, d: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str,
    filters: Tensor, gathered: Tensor, *, needed: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor]:  # fmt: skip
    """Compute the gradients of `convolve`, and add scale * dz to `gathered`, where dz is the gradient of z.

    Args:
        functions: The compiled library.
        d: Gradient of the output.
        x: Input maps.
        scale: Scale of the normalisation.
        shift: Shift of the normalisation.
        mean: Mean of each channel.
        act: Name of the activation.
        filters: Filters.
        gathered: Maps with the layout of `x`, to which scale * dz is added.
        needed: Whether the gradient of the filters is needed.

    Returns:
        Gradient of the filters or None, and each channel's sums of dz and of dz * (x - mean).

    Raises:
        RuntimeError: A tensor has another layout in memory, or its size is not supported.
    """
    filters = filters.detach().contiguous()
    _check(x, filters, d, scale, shift, mean)
    if gathered.shape != x.shape or gathered.dtype != x.dtype or stride_of(gathered).value != stride_of(x).value:
        raise RuntimeError("the maps that gradients are added to must have the layout of the maps that are read")
    gradient, sums, products = torch.empty_like(filters) if needed else None, *map(torch.empty_like, (mean, mean))
    given = (scale, shift, mean, ACTS.index(act), filters, *int64(len(filters)))
    results = (gathered, gradient, sums, products, _workspace(functions.read_back_workspace, x, filters))
    call(functions.read_back_of, d, x, *_sizes(x), *given, *results)
    return gradient, sums, products


def _check(x: Tensor, filters: Tensor, y: Tensor, *numbers: Tensor, tile: int = VECTOR) -> None:
    """Raise RuntimeError if memory beyond a tensor would be read or written."""
    out, channels, *kernel = filters.shape
    if x.shape[1] != channels or kernel != [1, 1] or out % tile or not x.numel():
        raise RuntimeError(f"maps of {tuple(x.shape)} for filters of {tuple(filters.shape)}")
    if y.shape != (len(x), out, *x.shape[2:]) or not y.is_contiguous(memory_format=torch.channels_last):
        raise RuntimeError(f"outputs of {tuple(y.shape)} at strides of {y.stride()} for maps of {tuple(x.shape)}")
    if any(each.shape != (channels,) or not each.is_contiguous() for each in numbers):
        raise RuntimeError(f"scale, shift and mean are {channels} numbers each, as many as there are channels")
    if any(each.dtype != x.dtype for each in (filters, y, *numbers)):
        raise RuntimeError(f"maps of {x.dtype} and filters of {filters.dtype}: all are of one type")


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, ...]:
    """Return the distance between pixels in memory, the number of pixels and the number of channels."""
    images, channels, height, width = x.shape
    return stride_of(x), *int64(images * height * width, channels)


def _workspace(function: Any, x: Tensor, filters: Tensor) -> Tensor:
    """Return the working memory of a function."""
    _, rows, channels = _sizes(x)
    return workspace(function, rows, channels, *int64(len(filters)), dtype=x.dtype)

"""1x1 convolutions: their way back, and those of maps that are normalised and activated while they are read.

Both gradients of a 1x1 convolution are matrix products over the same few rows, which the processor's cache holds for
the second.

A layer of a dense block begins with normalisation, activation and such a convolution (Huang et al., 2017, section 3),
over all maps before it. Taken one by one, the activated maps are written and read again, and so is their gradient;
taken together, both stay in the cache, and nothing but the maps themselves need be kept for the way back.

Maps are N x C x H x W, channels last, and may be the first channels of wider ones; filters are out x C x 1 x 1; scale,
shift and mean: C numbers each. In the words of `kernels`, z = x * scale + shift, and act(z) is convolved.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from convwright.modules.fused.convolution import VECTOR, Form, OwnConv2d
from convwright.modules.fused.kernels import ACTS, channels_last, stride_of
from convwright.modules.fused.library import call, int64, library, room
from convwright.modules.fused.norms import is_watched

TILE = 8
"""Rows of a matrix product, of which outputs are to be a multiple."""
LEAST, MANY = 32, 1024
"""Channels from which on the way back is quicker than torch's: to more outputs than channels, and to fewer."""
PIXELS = 512
"""Of a batch, from which on it is."""
READ = 48
"""Channels from which on it is quicker to normalise maps while they are read."""


class PointwiseConv2d(OwnConv2d):
    """A 1x1 convolution; forward, and where there are few pixels, it is torch's."""

    source = "pointwise"

    @classmethod
    def supports(cls, form: Form) -> bool:
        """With whole tiles of outputs; more of them than channels, or many channels."""
        usual = _moves_nothing(form) and form.out % TILE == 0
        return usual and form.channels >= LEAST and (form.out > form.channels or form.channels >= MANY)

    def _gains(self, x: Tensor) -> bool:
        return x.numel() >= PIXELS * x.shape[1]

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        return _Pointwise.apply(x, weight, functions)


def _moves_nothing(form: Form) -> bool:
    return form[2:] in {((1, 1), (1, 1), (0, 0), (1, 1), 1, same, "zeros") for same in (False, True)}


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
        wanted = ctx.needs_input_grad[:2]
        return *gradients(ctx.functions, channels_last(x), channels_last(d), weight, wanted=wanted), None


def gradients(
    functions: ctypes.CDLL, x: Tensor, d: Tensor, weight: Tensor, *, wanted: tuple[bool, bool] = (True, True)
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of maps and of filters, None for one that is not wanted; d is that of the outputs.

    RuntimeError if something does not lie in memory as it is read.
    """
    filters = weight.detach().contiguous()
    _check(x, filters, d, tile=TILE)
    stride, rows, channels = _sizes(x)
    if stride.value != channels.value:
        raise RuntimeError(f"maps of {tuple(x.shape)} at strides of {x.stride()} are not channels last")
    d_x, gradient = (torch.empty_like(each) if want else None for each, want in zip((x, filters), wanted, strict=True))
    given = (rows, channels, filters, *int64(len(filters)), d_x, gradient)
    call(functions.pointwise_back_of, d, x, *given, _room(functions.read_back_room, x, filters))
    return d_x, gradient


def functions_for(conv: nn.Module, x: Tensor) -> ctypes.CDLL | None:
    """Return the functions with which a convolution of normalised maps like these is computed; None for torch's."""
    if type(conv) not in (nn.Conv2d, PointwiseConv2d) or is_watched(conv):
        return None
    assert isinstance(conv, nn.Conv2d)
    form = Form.of_module(conv, conv.weight)
    if not _moves_nothing(form) or conv.bias is not None or form.out % VECTOR or form.channels < READ:
        return None
    if torch.is_autocast_enabled("cpu") or x.device.type != "cpu" or x.dtype != conv.weight.dtype:
        return None
    enough = x.dtype in (torch.float32, torch.float64) and x.numel() >= PIXELS * x.shape[1]
    return library(x.dtype, "pointwise") if enough else None


def convolve(
    functions: ctypes.CDLL, x: Tensor, scale: Tensor, shift: Tensor, act: str, filters: Tensor
) -> Tensor:  # fmt: skip
    """Return the convolution of act(z). RuntimeError if something does not lie in memory as it is read."""
    filters = filters.detach().contiguous()
    y = torch.empty((len(x), len(filters), *x.shape[2:]), dtype=x.dtype, memory_format=torch.channels_last)
    _check(x, filters, y, scale, shift)
    given = (scale, shift, ACTS.index(act), filters, *int64(len(filters)), y)
    call(functions.read_of, x, *_sizes(x), *given, _room(functions.read_room, x, filters))
    return y


def convolve_back(
    functions: ctypes.CDLL, d: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str,
    filters: Tensor, gathered: Tensor, *, wanted: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor]:  # fmt: skip
    """Add scale * dz to `gathered`, which lies in memory as x does; d is the gradient of what `convolve` returns.

    Returns the gradient of the filters (None if it is not wanted), and each channel's sums of dz and of
    dz * (x - mean). RuntimeError as `convolve`.
    """
    filters = filters.detach().contiguous()
    _check(x, filters, d, scale, shift, mean)
    if gathered.shape != x.shape or gathered.dtype != x.dtype or stride_of(gathered).value != stride_of(x).value:
        raise RuntimeError("gradients are added to maps that lie in memory as those that are read")
    gradient, sums, products = torch.empty_like(filters) if wanted else None, *map(torch.empty_like, (mean, mean))
    given = (scale, shift, mean, ACTS.index(act), filters, *int64(len(filters)))
    results = (gathered, gradient, sums, products, _room(functions.read_back_room, x, filters))
    call(functions.read_back_of, d, x, *_sizes(x), *given, *results)
    return gradient, sums, products


def _check(x: Tensor, filters: Tensor, y: Tensor, *numbers: Tensor, tile: int = VECTOR) -> None:
    """RuntimeError if something would be read, or written, beyond its end."""
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
    """How far apart pixels lie, how many there are, and of how many channels."""
    images, channels, height, width = x.shape
    return stride_of(x), *int64(images * height * width, channels)


def _room(function: Any, x: Tensor, filters: Tensor) -> Tensor:
    """What a function works in."""
    _, rows, channels = _sizes(x)
    return room(function, rows, channels, *int64(len(filters)), dtype=x.dtype)

"""Convolutions that in training on a CPU are computed by operators of their own."""

import ctypes
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from convwright.arch import layers as graph
from convwright.arch.shapes import conv_padding, pair
from convwright.modules.combinators import SameConv2d
from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import library

VECTOR = 16
"""Numbers that the widest registers hold."""


class Form(NamedTuple):
    """What a convolution is, but for its weights."""

    channels: int
    out: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int
    same: bool
    """Padded by the size of what comes in, not by `padding`."""
    mode: str = "zeros"

    @classmethod
    def of_layer(cls, conv: graph.Conv, channels: int) -> Self:
        """Return that of a layer for so many channels."""
        padding = (0, 0) if conv.same else conv_padding(conv)
        dilation, sides = (conv.dilation, conv.dilation), (pair(conv.kernel), pair(conv.stride))
        return cls(channels, conv.out, *sides, padding, dilation, conv.groups, conv.same)

    @classmethod
    def of_module(cls, conv: nn.Conv2d, weight: Tensor) -> Self:
        """Return that of a module, whose attributes may have been changed since it was built."""
        out, channels, *kernel = weight.shape
        given = (conv.stride, conv.padding, conv.dilation, conv.groups, isinstance(conv, SameConv2d), conv.padding_mode)
        return cls(channels * conv.groups, out, tuple(kernel), *given)


class OwnConv2d(nn.Conv2d, ABC):
    """A convolution with operators of its own.

    It is torch's in inference, in mixed precision, on other devices, and where its own would gain nothing.
    """

    source: ClassVar[str]
    """Where its operators are, as `library` names it."""

    @classmethod
    @abstractmethod
    def supports(cls, form: Form) -> bool:
        """Are there operators for such a convolution?"""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x out x H x W."""
        weight = self.weight  # once, as a parametrisation may compute it
        functions = library(x.dtype, self.source) if self._learns(x, weight) and self._gains(x) else None
        if functions is None:
            return self._conv_forward(x, weight, self.bias)
        y = self._convolve(channels_last(x), weight, functions)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _learns(self, x: Tensor, weight: Tensor) -> bool:
        form = Form.of_module(self, weight)
        if not self.training or torch.is_autocast_enabled("cpu") or x.device.type != "cpu" or not self.supports(form):
            return False
        fits = x.ndim == 4 and x.shape[1] == form.channels and x.dtype == weight.dtype and x.device == weight.device
        return fits and x.dtype in (torch.float32, torch.float64) and x.numel() > 0  # what does not, torch refuses

    def _gains(self, x: Tensor) -> bool:
        """Would its own operators be quicker for maps like these?"""
        return True

    @abstractmethod
    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        """Return the maps, without a bias; x lies channels last."""

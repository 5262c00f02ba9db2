"""Convolutions that are trained on a CPU with compiled operators."""

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
"""Number of float32 values in the widest vector register."""


class ConvSpec(NamedTuple):
    """The hyper-parameters of a convolution."""

    channels: int
    out: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int
    same: bool
    """Whether the padding depends on the size of the input (as in TensorFlow) instead of `padding`."""
    mode: str = "zeros"

    @classmethod
    def of_layer(cls, conv: graph.Conv, channels: int) -> Self:
        """Return the hyper-parameters of a layer whose input has `channels` channels."""
        padding = (0, 0) if conv.same else conv_padding(conv)
        dilation, sides = (conv.dilation, conv.dilation), (pair(conv.kernel), pair(conv.stride))
        return cls(channels, conv.out, *sides, padding, dilation, conv.groups, conv.same)

    @classmethod
    def of_module(cls, conv: nn.Conv2d, weight: Tensor) -> Self:
        """Return the hyper-parameters of a module, whose attributes may have changed since it was built."""
        out, channels, *kernel = weight.shape
        given = (conv.stride, conv.padding, conv.dilation, conv.groups, isinstance(conv, SameConv2d), conv.padding_mode)
        return cls(channels * conv.groups, out, tuple(kernel), *given)


class CompiledConv2d(nn.Conv2d, ABC):
    """A convolution with compiled operators.

    Torch's operators are used in inference, on other devices, where they are as fast, and in mixed precision unless
    there are own ones for bfloat16.
    """

    source: ClassVar[str]
    """Name of the source of its operators, for `library`."""
    reads_bfloat16: ClassVar[bool] = False
    """Whether there are operators for maps of bfloat16, with weights of 32 bits."""

    @classmethod
    @abstractmethod
    def supports(cls, spec: ConvSpec) -> bool:
        """Return whether there are compiled operators for such a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x out x H x W."""
        weight = self.weight  # once, as a parametrisation may compute it
        dtype = self._dtype(x, weight)
        functions = library(dtype, self.source) if dtype is not None and self._is_faster(x) else None
        if functions is None:
            output: Tensor = self._conv_forward(x, weight, self.bias)
            return output
        y = self._convolve(channels_last(x.to(dtype)), weight, functions)
        return y if self.bias is None else y + self.bias.to(dtype)[:, None, None]

    def _dtype(self, x: Tensor, weight: Tensor) -> torch.dtype | None:
        """Return the type of the maps that the compiled operators read and write; None if they do not apply."""
        spec = ConvSpec.of_module(self, weight)
        if not self.training or x.device.type != "cpu" or not self.supports(spec):
            return None
        if x.ndim != 4 or x.shape[1] != spec.channels or x.device != weight.device or not x.numel():
            return None  # torch refuses such maps
        if torch.is_autocast_enabled("cpu"):
            mixed = weight.dtype == torch.float32 and x.dtype in (torch.float32, torch.bfloat16)
            reads = self.reads_bfloat16 and torch.get_autocast_dtype("cpu") == torch.bfloat16
            return torch.bfloat16 if mixed and reads else None
        return x.dtype if x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64) else None

    def _is_faster(self, x: Tensor) -> bool:
        """Return whether the compiled operators are faster for maps of this size."""
        return True

    @abstractmethod
    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        """Return the output without the bias. `x` is in the channels-last format."""

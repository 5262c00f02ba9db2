"""Convolutions that in training on a CPU are computed by operators of their own."""

import ctypes
from typing import ClassVar

import torch
from torch import Tensor, nn

from convwright.modules.fused.kernels import channels_last
from convwright.modules.fused.library import library


class OwnConv2d(nn.Conv2d):
    """A convolution with operators of its own.

    It is torch's in inference, in mixed precision, on other devices, and where its own would gain nothing.
    """

    source: ClassVar[str]
    """Where its operators are, as `library` names it."""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x out x H x W."""
        weight = self.weight  # once, as a parametrisation may compute it
        functions = library(x.dtype, self.source) if self._learns(x, weight) and self._gains(x) else None
        if functions is None:
            return self._conv_forward(x, weight, self.bias)
        y = self._convolve(channels_last(x), weight, functions)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _learns(self, x: Tensor, weight: Tensor) -> bool:
        if not self.training or torch.is_autocast_enabled("cpu") or x.device.type != "cpu" or x.ndim != 4:
            return False
        fits = x.shape[1] == self.in_channels and x.dtype == weight.dtype and x.device == weight.device
        return fits and x.dtype in (torch.float32, torch.float64) and x.numel() > 0  # what does not, torch refuses

    def _gains(self, x: Tensor) -> bool:
        """Would its own operators be quicker for maps like these?"""
        raise NotImplementedError

    def _convolve(self, x: Tensor, weight: Tensor, functions: ctypes.CDLL) -> Tensor:
        """Return the maps, without a bias; x lies channels last."""
        raise NotImplementedError

"""Normalisation, activation, gate and sum as one operator, with its own backward pass.

Torch's own take a pass over memory each, and keep what each of them put out. Here the maps are read once for their
statistics and once to be transformed; the backward pass reads them twice, and computes again what lies between. What
is squeezed after an activation is read once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from convwright.modules.fused.kernels import Kernels, channels_last, real


@dataclass(frozen=True)
class Statistics:
    """What a batch normalisation makes of its maps: z = x * scale + shift; and what it is computed with."""

    kernels: Kernels
    mean: Tensor
    inverse: Tensor
    """1 / standard deviation."""
    scale: Tensor
    shift: Tensor
    means: Tensor | None = None
    """Of each image, N x C, where they are asked for: normalised, they are what is squeezed."""

    @classmethod
    @torch.no_grad()
    def of(
        cls, kernels: Kernels, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, means: Tensor | None = None
    ) -> "Statistics":
        """Combine a batch's statistics with a module's weights."""
        inverse = (variance + norm.eps).rsqrt()
        scale = norm.weight * inverse
        return cls(kernels, mean, inverse, scale, norm.bias - mean * scale, means)

    def squeezed(self, x: Tensor, act: str) -> Tensor:
        """Return the mean of each image once normalised and activated, N x C."""
        if act == "identity" and self.means is not None:
            return self.means * self.scale + self.shift
        return self.kernels.squeeze(x, self.scale, self.shift, act)

    def gradient_terms(self, sums: Tensor, products: Tensor, count: float) -> tuple[Tensor, Tensor]:
        """Return slope and offset: what passes through mean and variance is, at x, slope * x + offset."""
        slope = -self.scale * self.inverse.square() * products / count
        return slope, -self.scale * sums / count - slope * self.mean


def is_ordinary(part: nn.Module | None) -> bool:
    """Is this torch's own batch normalisation, with weights? Another class, as one across devices, computes itself."""
    if type(part) is not nn.BatchNorm2d or is_watched(part):
        return False
    return isinstance(part.weight, Tensor) and isinstance(part.bias, Tensor)


def is_watched(module: nn.Module) -> bool:
    """Has somebody hung something on a module that wants it to be called, as hooks and pruning do?"""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)


def measure(kernels: Kernels, norm: nn.BatchNorm2d, x: Tensor, *, by_image: bool = False) -> Statistics:
    """Take a batch's statistics, note them in the running ones, and return what they make of the maps."""
    count = x.numel() // x.shape[1]
    check_count(count)
    mean, variance, *means = (kernels.statistics_by_image if by_image else kernels.statistics)(x.detach())
    remember(norm, mean, variance, count)
    return Statistics.of(kernels, norm, mean, variance, *means)


def check_count(count: int) -> None:
    """ValueError if so many values a channel have no variance."""
    if count < 2:
        raise ValueError("Expected more than 1 value per channel when training")  # as torch says it


@torch.no_grad()
def remember(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics of a normalisation, if it has any, towards those of `count` values a channel.

    By its momentum; without one (`momentum=None`) they become the mean over all batches so far.
    """
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_((variance * (count / (count - 1))).to(norm.running_var.dtype), share)


def normalise(
    kernels: Kernels,
    norm: nn.BatchNorm2d,
    x: Tensor,
    act: str = "identity",
    *,
    kept: Tensor | None = None,
    residual: Tensor | None = None,
    rectified: bool = False,
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return act(norm(x)) * kept + residual, and ReLU of that if it is to be rectified, in training mode.

    kept: a factor for each image, N x 1 x 1 x 1, that learns nothing (stochastic depth). The function that comes with
    the maps computes them again.
    """
    x = channels_last(x)
    residual = None if residual is None else channels_last(residual.to(x.dtype))
    factors = None if kept is None else kept.flatten(1).expand(x.shape[:2]).to(real(x)).contiguous()
    s = measure(kernels, norm, x)
    y = _Normalise.apply(x, norm.weight, norm.bias, s, act, factors, residual, rectified)
    added = None if residual is None else residual.detach()
    return y, partial(kernels.forward, x.detach(), s.scale, s.shift, act, factors, added, rectified)


def recalibrate(
    kernels: Kernels,
    norm: nn.BatchNorm2d,
    gate: nn.Sequential,
    x: Tensor,
    act: str = "identity",
    *,
    residual: Tensor | None = None,
    rectified: bool = False,
) -> Tensor:
    """Return act(norm(x)), gated by what `gate` makes of its mean (squeeze-and-excitation), + residual, ReLU of that.

    The first part of `gate`, global average pooling, is done here.
    """
    x = channels_last(x)
    residual = None if residual is None else channels_last(residual.to(x.dtype))
    statistics, joint = measure(kernels, norm, x, by_image=act == "identity"), _Joint()
    maps, squeezed = _Squeeze.apply(x, norm.weight, norm.bias, statistics, act, joint)
    excitation = squeezed.to(norm.weight.dtype)  # that of a module of fewer bits
    for part in list(gate)[1:]:
        excitation = part(excitation)
    return _Excite.apply(maps, excitation, residual, statistics, act, rectified, joint)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        statistics: Statistics,
        act: str,
        kept: Tensor | None,
        residual: Tensor | None,
        rectified: bool,
    ) -> Tensor:
        s = statistics
        y = s.kernels.forward(x, s.scale, s.shift, act, kept, residual, rectified)
        ctx.save_for_backward(x, y if rectified else None)
        ctx.statistics, ctx.act, ctx.kept = s, act, kept
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        squeezed = None if ctx.kept is None else torch.zeros_like(ctx.kept)
        dx, d_sum, d_weight, d_bias = _backward(channels_last(d), y, ctx.kept, squeezed, x, ctx.statistics, ctx.act)
        return dx, d_weight, d_bias, None, None, None, d_sum if ctx.needs_input_grad[6] else None, None


class _Joint:
    """What the two halves of a recalibration hand on from one backward pass to the other."""

    gate: Tensor
    sums: list[Tensor]
    """Those of `Kernels.gate_backward` but the first."""


class _Squeeze(torch.autograd.Function):
    """Maps to themselves, and to the mean of each once normalised and activated, N x C x 1 x 1."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, statistics: Statistics, act: str, joint: _Joint
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        ctx.statistics, ctx.act, ctx.joint = statistics, act, joint
        return x.view_as(x), statistics.squeezed(x, act)[:, :, None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor, d_squeezed: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        squeezed = d_squeezed.flatten(1).contiguous() / (x.shape[2] * x.shape[3])
        gate, (slopes, products, d_slopes, d_products) = ctx.joint.gate, ctx.joint.sums
        # All that the normalisation needs to know of its maps, which need not be read for it once more.
        sums = ((gate * d_slopes + squeezed * slopes).sum(0), (gate * d_products + squeezed * products).sum(0))
        dx, _, d_weight, d_bias = _backward(channels_last(d), None, gate, squeezed, x, ctx.statistics, ctx.act, sums)
        return dx, d_weight, d_bias, None, None, None


class _Excite(torch.autograd.Function):
    """Maps, not yet normalised, and their factors to gated maps, added to a residual.

    What it hands back for its maps is the gradient of the gated ones: `_Squeeze`, which alone reads it, takes it
    through gate, activation and normalisation in one pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        excitation: Tensor,
        residual: Tensor | None,
        statistics: Statistics,
        act: str,
        rectified: bool,
        joint: _Joint,
    ) -> Tensor:
        # Detached: as a view it would hold its base, and with that, through `joint`, the graph that holds `joint`.
        gate, s = excitation.detach().flatten(1).to(real(x)).contiguous(), statistics
        y = s.kernels.forward(x, s.scale, s.shift, act, gate, residual, rectified)
        ctx.save_for_backward(x, gate, y if rectified else None)
        ctx.statistics, ctx.act, ctx.joint = s, act, joint
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, y = ctx.saved_tensors
        s = ctx.statistics
        d_sum, (d_gate, *sums) = s.kernels.gate_backward(channels_last(d), y, x, s.scale, s.shift, s.mean, ctx.act)
        ctx.joint.gate, ctx.joint.sums = gate, sums
        return d_sum, d_gate[:, :, None, None], d_sum if ctx.needs_input_grad[2] else None, None, None, None, None


def _backward(
    d: Tensor,
    y: Tensor | None,
    gate: Tensor | None,
    squeezed: Tensor | None,
    x: Tensor,
    s: Statistics,
    act: str,
    known: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, of what a residual was added to, of weight and of bias; known: `backward_sums`."""
    sums, products = known or s.kernels.backward_sums(d, y, gate, squeezed, x, s.scale, s.shift, s.mean, act)
    slope, offset = s.gradient_terms(sums, products, x.numel() / x.shape[1])
    dx, d_sum = s.kernels.backward_input(d, y, gate, squeezed, x, s.scale, s.shift, slope, offset, act)
    return dx, d_sum, products * s.inverse, sums

"""Normalisation, activation, gate and sum as one operator, with its own backward pass.

In torch, each of these takes a pass over memory and keeps its output. Here the maps are read once for their statistics
and once to be transformed; the backward pass reads them twice and recomputes the values in between. Squeezing after an
activation reads them once more.
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
    """The statistics of a batch, as the transformation z = x * scale + shift, and the kernels that compute it."""

    kernels: Kernels
    mean: Tensor
    inverse: Tensor
    """1 / standard deviation."""
    scale: Tensor
    shift: Tensor
    means: Tensor | None = None
    """Means of each image, N x C, if squeeze-and-excitation needs them."""

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
        """Return slope and offset: the gradient through mean and variance is slope * x + offset."""
        slope = -self.scale * self.inverse.square() * products / count
        return slope, -self.scale * sums / count - slope * self.mean


def is_plain_norm(part: nn.Module | None) -> bool:
    """Return whether a module is torch's own batch normalisation with weights, and not a subclass."""
    if type(part) is not nn.BatchNorm2d or has_hooks(part):
        return False
    return isinstance(part.weight, Tensor) and isinstance(part.bias, Tensor)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks, or a replaced `forward`, so that it has to be called."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)


def measure(kernels: Kernels, norm: nn.BatchNorm2d, x: Tensor, *, by_image: bool = False) -> Statistics:
    """Compute the statistics of a batch and update the running ones."""
    count = x.numel() // x.shape[1]
    check_count(count)
    mean, variance, *means = (kernels.statistics_by_image if by_image else kernels.statistics)(x.detach())
    update_running_statistics(norm, mean, variance, count)
    return Statistics.of(kernels, norm, mean, variance, *means)


def check_count(count: int) -> None:
    """Raise ValueError if there are too few values per channel for a variance."""
    if count < 2:
        raise ValueError("Expected more than 1 value per channel when training")  # torch's message


@torch.no_grad()
def update_running_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics of a normalisation, if it has any, towards those of a batch by its momentum.

    Without a momentum (`momentum=None`) they become the mean over all batches so far.

    Args:
        norm: The normalisation.
        mean: Mean of each channel.
        variance: Variance of each channel, without Bessel's correction.
        count: Number of values per channel.
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
    """Return act(norm(x)) * kept + residual in training mode, with ReLU of the sum if it is rectified.

    Args:
        kernels: Kernels to compute with.
        norm: The normalisation.
        x: Maps, N x C x H x W.
        act: Name of the activation.
        kept: Constant factor for each image, N x 1 x 1 x 1 (stochastic depth).
        residual: Maps that are added.
        rectified: Whether ReLU is applied to the sum.

    Returns:
        The maps, and a function that recomputes them.
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
    """Return act(norm(x)) with squeeze-and-excitation, plus a residual, with ReLU of the sum if it is rectified.

    Args:
        kernels: Kernels to compute with.
        norm: The normalisation.
        gate: Squeeze-and-excitation; its first part, global average pooling, is not called but computed here.
        x: Maps, N x C x H x W.
        act: Name of the activation.
        residual: Maps that are added.
        rectified: Whether ReLU is applied to the sum.
    """
    x = channels_last(x)
    residual = None if residual is None else channels_last(residual.to(x.dtype))
    statistics, link = measure(kernels, norm, x, by_image=act == "identity"), _Link()
    maps, squeezed = _Squeeze.apply(x, norm.weight, norm.bias, statistics, act, link)
    excitation = squeezed.to(norm.weight.dtype)  # 16 bits if the module has them
    for part in list(gate)[1:]:
        excitation = part(excitation)
    excited: Tensor = _Excite.apply(maps, excitation, residual, statistics, act, rectified, link)
    return excited


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


class _Link:
    """Values that the backward pass of `_Excite` hands to that of `_Squeeze`."""

    gate: Tensor
    sums: list[Tensor]
    """The sums of `Kernels.gate_backward` except the first."""


class _Squeeze(torch.autograd.Function):
    """Return the maps unchanged, and the means of the normalised and activated maps, N x C x 1 x 1."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, statistics: Statistics, act: str, link: _Link
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        ctx.statistics, ctx.act, ctx.link = statistics, act, link
        return x.view_as(x), statistics.squeezed(x, act)[:, :, None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor, d_squeezed: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        squeezed = d_squeezed.flatten(1).contiguous() / (x.shape[2] * x.shape[3])
        gate, (slopes, products, d_slopes, d_products) = ctx.link.gate, ctx.link.sums
        # The sums that the normalisation needs, so that its maps are not read once more.
        sums = ((gate * d_slopes + squeezed * slopes).sum(0), (gate * d_products + squeezed * products).sum(0))
        dx, _, d_weight, d_bias = _backward(channels_last(d), None, gate, squeezed, x, ctx.statistics, ctx.act, sums)
        return dx, d_weight, d_bias, None, None, None


class _Excite(torch.autograd.Function):
    """Gate maps (normalising and activating them on the way) and add a residual.

    Its gradient for the maps is that of the gated maps. Only `_Squeeze` reads it, and passes it through gate,
    activation and normalisation in one pass over memory.
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
        link: _Link,
    ) -> Tensor:
        # Detached: a view would refer to its base, and the base through `link` to the graph that refers to `link`.
        gate, s = excitation.detach().flatten(1).to(real(x)).contiguous(), statistics
        y = s.kernels.forward(x, s.scale, s.shift, act, gate, residual, rectified)
        ctx.save_for_backward(x, gate, y if rectified else None)
        ctx.statistics, ctx.act, ctx.link = s, act, link
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, y = ctx.saved_tensors
        s = ctx.statistics
        d_sum, (d_gate, *sums) = s.kernels.gate_backward(channels_last(d), y, x, s.scale, s.shift, s.mean, ctx.act)
        ctx.link.gate, ctx.link.sums = gate, sums
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
    """Return the gradients of x, of the sum with the residual, of weight and of bias.

    `known` holds the results of `backward_sums`, if they have been computed.
    """
    sums, products = known or s.kernels.backward_sums(d, y, gate, squeezed, x, s.scale, s.shift, s.mean, act)
    slope, offset = s.gradient_terms(sums, products, x.numel() / x.shape[1])
    dx, d_sum = s.kernels.backward_input(d, y, gate, squeezed, x, s.scale, s.shift, slope, offset, act)
    return dx, d_sum, products * s.inverse, sums

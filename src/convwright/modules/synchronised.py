"""Batch normalisation over a batch that several processes share, on any device.

`torch.nn.SyncBatchNorm` does this on GPUs only. On CPUs it is needed too, so that a batch that several processes share
gives the same gradients as in one process.
"""

from typing import Any

import torch
import torch.distributed as distributed
from torch import nn


class _AllSum(torch.autograd.Function):
    """The sum of a tensor over all processes, and of its gradient."""

    @staticmethod
    def forward(context: Any, part: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        total = part.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the sum of the processes' gradients."""
        return _all_sum(gradients[0])  # this sum is differentiable too


def _all_sum(part: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _AllSum.apply(part)
    return total


class SynchronisedNorm(nn.BatchNorm2d):
    """`BatchNorm2d` whose statistics, while training, are those of all processes' images together.

    Statistics are in float32 or wider, whatever the type of the maps: 16 bits hold neither counts nor sums.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise N x C x H x W maps, this process's part of the batch."""
        if not self.training or not distributed.is_initialized():
            return super().forward(x)
        maps = x.to(torch.promote_types(x.dtype, torch.float32))
        count = maps.new_tensor([maps.numel() / maps.shape[1]])
        sums = _all_sum(torch.cat((maps.sum((0, 2, 3)), count)))
        total = sums[-1]
        if maps.numel() == maps.shape[1] and total.item() == 1:  # as torch does; the variance would be 0 / 0
            raise ValueError(f"expected more than one value per channel when training, got input of {[*x.shape]}")
        mean = sums[:-1] / total
        centred = maps - mean.view(1, -1, 1, 1)
        # In two passes, since sums of squares would lose the digits of a variance that is small beside its mean.
        variance = _all_sum(centred.square().sum((0, 2, 3))) / total
        self._update_running(mean.detach(), variance.detach(), total.detach())
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(1, -1, 1, 1), centred, scale.view(1, -1, 1, 1)).to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: torch.Tensor, variance: torch.Tensor, total: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        unbiased = variance * total / (total - 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


def synchronise(module: nn.Module) -> None:
    """Replace every batch normalisation in a module by a synchronised one; weights and names are kept."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SynchronisedNorm

"""Training in one process, on a GPU or a CPU, with the methods that training uses of Lightning Fabric.

Several processes use Fabric itself. Its import takes a second, since it imports torch's compiler.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn


class OneProcess:
    """The part of `lightning_fabric.Fabric` that training uses, for one process and one device."""

    def __init__(self) -> None:
        self.device = _fastest_device()
        self.global_rank = 0

    def setup(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Move a module to the device; the optimizer refers to the same weights."""
        return module.to(self.device), optimizer

    def to_device(self, batch: Any) -> Any:
        """Return a tensor, or a tuple of tensors, on the device."""
        if isinstance(batch, torch.Tensor):
            return batch.to(self.device)
        return tuple(each.to(self.device) for each in batch)

    def no_backward_sync(self, module: nn.Module, enabled: bool = True) -> AbstractContextManager[None]:
        """Return a context without effect: there is no other process."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss to those of the weights."""
        torch.autograd.backward(loss)

    def barrier(self) -> None:
        """Return at once."""


def _fastest_device() -> torch.device:
    """Return the GPU that this process uses, if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

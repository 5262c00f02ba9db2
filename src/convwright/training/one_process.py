"""Training in one process on the CPU in 32 bits, with Lightning Fabric's methods but without its import.

Fabric imports torch's compiler, which takes a second. Where it would only pass calls on to torch, this class does so.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn


class OneProcess:
    """The part of `lightning_fabric.Fabric` that training uses, for one process on the CPU in 32 bits."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.global_rank = 0

    @staticmethod
    def suffices(precision: str) -> bool:
        """Return whether Fabric would do the same for one process: in 32 bits, on a machine without a GPU.

        Args:
            precision: `32-true` or `bf16-mixed`.
        """
        return precision == "32-true" and not (torch.cuda.device_count() or torch.backends.mps.is_available())

    def setup(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return both as they are: they are on the CPU already."""
        return module, optimizer

    def to_device(self, batch: Any) -> Any:
        """Return a batch as it is."""
        return batch

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which operators keep the type of their input."""
        return nullcontext()

    def no_backward_sync(self, module: nn.Module, enabled: bool = True) -> AbstractContextManager[None]:
        """Return a context without effect: there is no other process."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss to those of the weights."""
        torch.autograd.backward(loss)

    def clip_gradients(self, module: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float) -> None:
        """Scale all gradients by one factor where their norm is larger than `max_norm`."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, max_norm, error_if_nonfinite=True)

    def barrier(self) -> None:
        """Return at once."""

"""The number format of training: automatic mixed precision, and the scale of the loss in float16."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from convwright.errors import NotFiniteError
from convwright.training.config import PrecisionName

TYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Type in which convolutions and matrix products of a mixed precision compute."""


class DivergedError(NotFiniteError):
    """The loss, or its gradient, is no longer a finite number."""


class Precision:
    """Forward passes, backward passes and updates in one number format; weights always have 32 bits.

    In `16-mixed` the loss is multiplied by a scale, so that small gradients are not rounded to zero. A step whose
    gradient overflows is skipped, and the scale is halved; after many steps without overflow it is doubled.

    Args:
        name: The format.
        device: Where the network computes.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self.device, self.dtype = device, TYPES.get(name)
        self.scaler = torch.amp.GradScaler(device.type) if name == "16-mixed" else None
        self.skipped = 0
        """Number of steps that were skipped because their gradient overflowed."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which operators compute in the format, where that is exact enough."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Return a loss multiplied by the present scale."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def update(self, optimizer: torch.optim.Optimizer, clip_norm: float | None) -> bool:
        """Update the weights by their gradients; return whether the step was taken, and not skipped.

        Args:
            optimizer: The optimizer; its weights have the gradients of a loss from `scaled`.
            clip_norm: Largest norm of the gradient, to which a larger one is scaled down; None: any.

        Raises:
            DivergedError: The gradient is not finite, whatever the scale. The weights are as they were.
        """
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if not norm.item() < float("inf"):  # NaN compares false with everything
            self._skip(norm.item())
            return False
        if clip_norm:
            clip_grads_with_norm_(weights, clip_norm, norm)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
        return True

    def _skip(self, norm: float) -> None:
        """Halve the scale. DivergedError if there is none, or a smaller one would not help."""
        if self.scaler is not None and (scale := self.scaler.get_scale()) > 1:
            self.scaler.update()
            if self.scaler.get_scale() < scale:  # else every value is finite, and only their norm is not
                self.skipped += 1
                return
        raise DivergedError(f"the gradient became {norm}")

    def state(self) -> dict[str, Any] | None:
        """Return what a resumed run needs to continue in the same way; None where nothing changes during training."""
        return None if self.scaler is None else {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state(self, state: dict[str, Any] | None) -> None:
        """Continue from a state that `state` returned."""
        if self.scaler is not None and state is not None:
            self.scaler.load_state_dict(state["scaler"])
            self.skipped = state["skipped"]

    def measures(self) -> dict[str, float]:
        """Return the columns of metrics.csv that only some formats have."""
        if self.scaler is None:
            return {}
        return {"loss_scale": self.scaler.get_scale(), "skipped_steps": self.skipped}

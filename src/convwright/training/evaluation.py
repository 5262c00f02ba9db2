"""How good a network is on a split of its data."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0 to 1) and mean cross-entropy over so many images."""

    accuracy: float
    loss: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return wilson(round(self.accuracy * self.images), self.images)


@torch.no_grad()
def evaluate(
    module: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device | str = "cpu",
    *,
    after_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run a module over batches (images N x C x H x W, labels N) in evaluation mode.

    after_batch is told the number of images of each batch done. The module's mode is restored.
    """
    training = module.training
    module.eval()
    correct, loss, images = 0, 0.0, 0
    try:
        for batch, labels in batches:
            logits = module(batch.to(device)).float()
            labels = labels.to(device)
            loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            correct += int((logits.argmax(1) == labels).sum())
            images += len(labels)
            if after_batch:
                after_batch(len(labels))
    finally:
        module.train(training)
    return Evaluation(correct / images, loss / images, images)


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's score interval for a share, at 95 % by default; sound for shares near 0 and 1 too."""
    share = successes / trials
    spread = z * math.sqrt(share * (1 - share) / trials + (z / trials) ** 2 / 4)
    scale = 1 / (1 + z * z / trials)
    middle = share + z * z / (2 * trials)
    return max(0.0, scale * (middle - spread)), min(1.0, scale * (middle + spread))

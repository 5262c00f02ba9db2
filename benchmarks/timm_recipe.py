"""timm's training recipe for a small network: its optimizer, schedule and loss. Used in timm's own environment."""

from collections.abc import Iterable
from typing import Any


def train(module: Any, loader: Iterable[Any], epochs: int, rate: float) -> None:
    """Train a network in place.

    Args:
        module: The network.
        loader: Batches of images and labels.
        epochs: Passes over the batches.
        rate: Learning rate.
    """
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    optimizer = create_optimizer_v2(module, opt="sgd", lr=rate, momentum=0.9, weight_decay=2e-5)
    schedule, _ = create_scheduler_v2(
        optimizer, "cosine", num_epochs=epochs, warmup_epochs=epochs // 6, cooldown_epochs=0
    )
    loss_of = LabelSmoothingCrossEntropy(0.1)
    for epoch in range(epochs):
        schedule.step(epoch)
        module.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss_of(module(images), labels).backward()
            optimizer.step()

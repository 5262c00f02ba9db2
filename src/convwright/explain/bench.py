"""Variants of a trained network, measured one after the other on the same images."""

from collections.abc import Callable
from copy import copy

import torch
from torch import nn

from convwright.data import Dataset, Split
from convwright.errors import UsageError
from convwright.training.assessment import assess
from convwright.training.predictor import Predictor

SPLITS = {"val": "validation", "test": "test"}
Accuracy = tuple[float, tuple[float, float]]
"""Accuracy (0 to 1), and its 95 % interval."""


class Bench:
    """A trained network and the images of one split of its data; `measure` takes a variant of the network."""

    def __init__(
        self, predictor: Predictor, data: Dataset, split: str, tell: Callable[[int], None] | None = None
    ) -> None:
        """Take `val` or `test`; `tell` hears of the images of each batch done. UsageError if there are none."""
        if split not in SPLITS:
            raise UsageError(f"accuracy is measured on val or test images, not on {split!r}")
        images = data.test if split == "test" else data.val
        if images is None:
            raise UsageError(f"{data.name} has no test split; measure on val")
        self.predictor, self.data, self.split = predictor, data, split
        self.images: Split = images
        self.tell = tell

    def measure(self, module: nn.Module) -> Accuracy:
        """Return the accuracy of a module with the same classes and preprocessing."""
        variant = copy(self.predictor)
        variant.module = module.to(variant.device)

        def after_batch(logits: torch.Tensor, labels: torch.Tensor) -> None:
            if self.tell:
                self.tell(len(labels))

        result = assess(variant, self.data, [self.images], after_batch=after_batch)
        return result.accuracy, result.interval

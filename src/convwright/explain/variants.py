"""Variants of a trained network, measured one after the other on the same images."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

from convwright.data import Dataset, Split
from convwright.errors import UsageError
from convwright.evaluation.assessment import assess
from convwright.prediction.network import Predictor
from convwright.stats.intervals import paired_difference

SPLITS = {"val": "validation", "test": "test"}


class Change(NamedTuple):
    """By how much the accuracy of a variant differs from another's, as a share of the images; negative: it lost."""

    difference: float
    interval: tuple[float, float]
    """At 95 %, from pairs of answers to the same images (Agresti and Min 2005)."""


@dataclass(frozen=True)
class Accuracy:
    """How many of the bench's images a variant recognises."""

    share: float
    """0 to 1."""
    interval: tuple[float, float]
    """Of the share alone, at 95 %."""
    right: torch.Tensor = field(compare=False, repr=False)
    """N, bool: is it right about each image? In the same order for all variants."""

    def change_from(self, before: "Accuracy") -> Change:
        """Compare with another variant on the same images."""
        spoilt, mended = int((before.right & ~self.right).sum()), int((self.right & ~before.right).sum())
        lost, low, high = paired_difference(spoilt, mended, len(self.right))
        return Change(0.0 - lost, (-high, -low))


class VariantBench:
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

        right: list[torch.Tensor] = []

        def after_batch(logits: torch.Tensor, labels: torch.Tensor) -> None:
            right.append(logits.argmax(1).cpu() == labels.cpu())
            if self.tell:
                self.tell(len(labels))

        result = assess(variant, self.data, [self.images], after_batch=after_batch)
        return Accuracy(result.accuracy, result.interval, torch.cat(right))

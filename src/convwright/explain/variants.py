"""Variants of a trained network, measured one after the other on the same images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

from convwright.data import Dataset, Split
from convwright.display.progress import counting
from convwright.errors import ArgumentError
from convwright.evaluation.assessment import assess, assess_multi_label
from convwright.evaluation.multi_label import MultiLabelMeasures
from convwright.prediction.network import Predictor
from convwright.stats.average_precision import best_thresholds, precision_difference
from convwright.stats.paired import PairedCounts

SPLITS = {"val": "validation", "test": "test"}


class Change(NamedTuple):
    """Difference of a variant's accuracy from another's, as a share of the images; negative where it is lower."""

    difference: float
    interval: tuple[float, float]
    """At 95 %, from pairs of predictions for the same images (Agresti and Min 2005), or by a paired bootstrap."""


@dataclass(frozen=True)
class Accuracy:
    """Share of the images that a variant predicts correctly; of several labels, see `Precision`."""

    share: float
    """0 to 1."""
    interval: tuple[float, float]
    """Of the share alone, at 95 %."""
    right: torch.Tensor = field(compare=False, repr=False)
    """N, bool: whether each prediction is correct, in the same order of images for all variants."""

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """For each class of a multi-label network the threshold of highest F1; None for others."""
        return None

    def change_from(self, before: "Accuracy") -> Change:
        """Return the difference from another variant on the same images."""
        lost_only, gained_only = int((before.right & ~self.right).sum()), int((self.right & ~before.right).sum())
        pairs = PairedCounts(gained_only, lost_only, len(self.right))
        return Change(pairs.difference, pairs.interval)


@dataclass(frozen=True)
class Precision(Accuracy):
    """Mean average precision of a multi-label variant, instead of its accuracy."""

    scores: torch.Tensor = field(default_factory=lambda: torch.empty(0), compare=False, repr=False)
    """N x K: logits."""
    labels: torch.Tensor = field(default_factory=lambda: torch.empty(0), compare=False, repr=False)
    """N x K, bool."""

    @classmethod
    def of(cls, measures: MultiLabelMeasures) -> "Precision":
        """Return the mean average precision of a variant's measures."""
        found = measures.mean_average_precision
        interval = found.interval or (found.value, found.value)
        return cls(found.value, interval, measures.exact, measures.logits, measures.labels)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """For each class the threshold of highest F1 on these images."""
        return best_thresholds(self.scores.double().sigmoid().numpy(), self.labels.numpy())

    def change_from(self, before: Accuracy) -> Change:
        """Return the difference from another variant on the same images, by a paired bootstrap."""
        assert isinstance(before, Precision)
        found = precision_difference(self.scores.numpy(), before.scores.numpy(), self.labels.numpy())
        return Change(found.difference, found.interval or (found.difference, found.difference))


class VariantBench:
    """A trained network and the images of one split of its data, to measure variants of the network on.

    Args:
        predictor: The trained network.
        data: Its data.
        split: `val` or `test`.
        after_batch: Function that is called with the number of images of each batch done.

    Raises:
        ArgumentError: The data has no such split.
    """

    def __init__(
        self, predictor: Predictor, data: Dataset, split: str, after_batch: Callable[[int], None] | None = None
    ) -> None:
        self.predictor, self.data, self.split = predictor, data, split
        self.images = images_of(data, split)
        self.after_batch = after_batch

    def measure(self, module: nn.Module) -> Accuracy:
        """Return the accuracy of a module with the same classes and preprocessing."""
        variant = copy(self.predictor)
        variant.module = module.to(variant.device)
        if variant.multi_label:
            measures = assess_multi_label(variant, self.data, [self.images], after_batch=self._count)
            return Precision.of(measures)
        right: list[torch.Tensor] = []

        def after_batch(logits: torch.Tensor, labels: torch.Tensor) -> None:
            right.append(logits.argmax(1).cpu() == labels.cpu())
            self._count(logits, labels)

        result = assess(variant, self.data, [self.images], after_batch=after_batch)
        return Accuracy(result.accuracy, result.interval, torch.cat(right))

    def _count(self, _: torch.Tensor, labels: torch.Tensor) -> None:
        if self.after_batch:
            self.after_batch(len(labels))


def images_of(data: Dataset, split: str) -> Split:
    """Return the images of a split.

    Raises:
        ArgumentError: The data has no such split.
    """
    images = {"val": data.val, "test": data.test, "train": data.train}.get(split)
    if images is None:
        raise ArgumentError("split", f"{data.name} has no {split} split; measure on val")
    return images


@contextmanager
def variants_of(
    predictor: Predictor, data: Dataset, split: str, variants: int
) -> Iterator[Callable[[nn.Module], Accuracy]]:
    """Give a function that measures variants of a network, and show progress meanwhile.

    Args:
        predictor: The trained network.
        data: Its data.
        split: `val` or `test`.
        variants: How many variants will be measured.

    Yields:
        A function from a module to its accuracy.
    """
    images = len(images_of(data, split))
    with counting() as progress:
        add = counted(progress, variants * images, f"measuring on {SPLITS[split]} images")
        yield VariantBench(predictor, data, split, add).measure


def counted(progress: Callable[[int, int, str], None], total: int, what: str) -> Callable[[int], None]:
    """Return a function that adds a number of images to a progress bar.

    Args:
        progress: Progress display, as of `convwright.display.progress.counting`.
        total: Number of images in all.
        what: Name of the work.
    """
    done = 0

    def add(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total, what)

    return add

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
from convwright.evaluation.assessment import assess
from convwright.prediction.network import Predictor
from convwright.stats.paired import PairedCounts

SPLITS = {"val": "validation", "test": "test"}


class Change(NamedTuple):
    """Difference of a variant's accuracy from another's, as a share of the images; negative where it is lower."""

    difference: float
    interval: tuple[float, float]
    """At 95 %, from pairs of predictions for the same images (Agresti and Min 2005)."""


@dataclass(frozen=True)
class Accuracy:
    """Share of the images that a variant predicts correctly."""

    share: float
    """0 to 1."""
    interval: tuple[float, float]
    """Of the share alone, at 95 %."""
    right: torch.Tensor = field(compare=False, repr=False)
    """N, bool: whether each prediction is correct, in the same order of images for all variants."""

    def change_from(self, before: "Accuracy") -> Change:
        """Return the difference from another variant on the same images."""
        lost_only, gained_only = int((before.right & ~self.right).sum()), int((self.right & ~before.right).sum())
        pairs = PairedCounts(gained_only, lost_only, len(self.right))
        return Change(pairs.difference, pairs.interval)


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

        right: list[torch.Tensor] = []

        def after_batch(logits: torch.Tensor, labels: torch.Tensor) -> None:
            right.append(logits.argmax(1).cpu() == labels.cpu())
            if self.after_batch:
                self.after_batch(len(labels))

        result = assess(variant, self.data, [self.images], after_batch=after_batch)
        return Accuracy(result.accuracy, result.interval, torch.cat(right))


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

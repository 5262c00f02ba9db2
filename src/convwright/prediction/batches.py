"""Batches of images, and their predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.prediction.base import BasePredictor
from convwright.prediction.outcomes import Prediction, UnreadableImage


@dataclass(frozen=True)
class Batch:
    """The images of a batch: an outcome for each, and the pixels of those that could be read."""

    outcomes: tuple[Prediction | UnreadableImage, ...]
    pixels: tuple[Any, ...]
    """C x H x W, uint8, as the network reads them."""


def slices(count: int, size: int) -> Iterator[slice]:
    """Yield the positions of each batch of so many images."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def predict_batch(
    predictor: BasePredictor,
    names: Sequence[str],
    read: Sequence[Any],
    top: int | None = None,
    coverage: float | None = None,
) -> Batch:
    """Predict the images of a batch that could be read.

    Args:
        predictor: The network.
        names: Names of the images.
        read: Pixels of each image; instead of an image that cannot be read, the error.
        top: Classes to name for each image; None for sets of classes.
        coverage: Share of images whose prediction set contains the true class; None: there are no sets.

    Raises:
        ArgumentError: A value in memory is no image.
        ConvwrightError: The network failed.
    """
    for name, pixels in zip(names, read, strict=True):
        if isinstance(pixels, UsageError):
            raise ArgumentError("images", f"{name}: {pixels}")
    good = tuple(pixels for pixels in read if not isinstance(pixels, ConvwrightError))
    predictions = iter(predictor.rank(good, top, coverage))
    outcomes: list[Prediction | UnreadableImage] = []
    for name, pixels in zip(names, read, strict=True):
        if isinstance(pixels, ConvwrightError):
            outcomes.append(UnreadableImage(name, str(pixels)))
        else:
            outcomes.append(replace(next(predictions), file=name))
    return Batch(tuple(outcomes), good)

"""Images of multi-label networks repeated for each class that is predicted, so that each class has a map."""

from collections.abc import Iterator, Sequence

import torch

from convwright.errors import ArgumentError
from convwright.explain.images import ReadImages
from convwright.explain.opened import OpenNetwork
from convwright.prediction.network import Predictor

BATCH = 32


def for_each_class(networks: Sequence[OpenNetwork], read: ReadImages) -> tuple[ReadImages, list[str]]:
    """Repeat each image for each class that one of the networks predicts for it, the likeliest of the first one first.

    An image for which no class is predicted stays, with its likeliest class.

    Args:
        networks: Multi-label networks.
        read: The images.

    Returns:
        The images, and the class of each.

    Raises:
        ArgumentError: Some networks predict one class for each image, or the networks have other classes.
    """
    first = networks[0].predictor
    if any(one.predictor.multi_label is not first.multi_label for one in networks):
        raise ArgumentError("target", "missing; give a class, since not all networks predict several for an image")
    if any(set(one.predictor.classes) != set(first.classes) for one in networks):
        raise ArgumentError("target", "missing; give a class, since the networks have different classes")
    probabilities = [
        _in_order(_probabilities(one.predictor, pixels), one.predictor.classes, first.classes)
        for one, pixels in zip(networks, read.pixels, strict=True)
    ]
    limits = [
        _in_order(torch.tensor([one.predictor.thresholds], dtype=torch.float64), one.predictor.classes, first.classes)
        for one in networks
    ]
    found = torch.stack([chances >= limit for chances, limit in zip(probabilities, limits, strict=True)]).any(0)
    pairs = list(_pairs(found, probabilities[0]))
    rows = [row for row, _ in pairs]
    repeated = ReadImages(
        tuple(read.names[row] for row in rows),
        tuple(read.truths[row] for row in rows),
        tuple([pixels[row] for row in rows] for pixels in read.pixels),
        read.source,
        read.problems,
    )
    return repeated, [first.classes[label] for _, label in pairs]


def _probabilities(predictor: Predictor, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return N x classes probabilities, float64, as predictions compare them with thresholds."""
    batches = [torch.stack(list(pixels[at : at + BATCH])) for at in range(0, len(pixels), BATCH)]
    with torch.inference_mode():
        return torch.cat([predictor.logits(batch).double().sigmoid().cpu() for batch in batches])


def _in_order(values: torch.Tensor, classes: Sequence[str], wanted: Sequence[str]) -> torch.Tensor:
    """Return the columns of a network's classes in the order of another's."""
    return values[:, [classes.index(name) for name in wanted]]


def _pairs(found: torch.Tensor, probabilities: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Yield each image with each of its classes."""
    for row, (present, chances) in enumerate(zip(found, probabilities, strict=True)):
        ranked = chances.argsort(descending=True, stable=True).tolist()
        yield from ((row, label) for label in [each for each in ranked if present[each]] or ranked[:1])

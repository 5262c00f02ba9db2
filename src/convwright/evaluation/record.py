"""The prediction for each image of an evaluation, in order."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from convwright.brief import Brief
from convwright.csv_text import csv_table
from convwright.data import Dataset, Split


@dataclass(frozen=True, eq=False)
class ImagePredictions(Brief):
    """Label, predicted class and confidence of each image."""

    labels: torch.Tensor
    """N, int64: indices of classes."""
    predicted: torch.Tensor
    """N, int64: indices of the most likely classes."""
    confidence: torch.Tensor
    """N, float64: probabilities of the most likely classes."""
    images: tuple[tuple[str, object], ...]
    """The split of each image, and its file or its position in the split."""
    key: str
    """Digest of the choice of images, the same for every network."""

    @property
    def correct(self) -> torch.Tensor:
        """N, bool: whether each image is predicted correctly."""
        return self.labels == self.predicted

    def to_csv(self, classes: tuple[str, ...]) -> str:
        """Return a table with a row for each image.

        Args:
            classes: Names of the classes.
        """
        rows: list[tuple[object, ...]] = [("split", "image", "label", "prediction", "probability")]
        columns = (self.labels.tolist(), self.predicted.tolist(), self.confidence.tolist())
        for image, label, predicted, probability in zip(self.images, *columns, strict=True):
            rows.append((*image, classes[label], classes[predicted], f"{probability:.6g}"))
        return csv_table(rows)


class Recorder:
    """Collects the predictions of an evaluation, batch by batch.

    Args:
        data: The data set.
        parts: Splits of the data set, by name, in the order in which they are evaluated.
    """

    def __init__(self, data: Dataset, parts: Mapping[str, Split]) -> None:
        self._key = images_key(data, list(parts.values()))
        self._images = names_of_images(parts)
        self._batches: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch: logits N x classes, and labels N."""
        best = logits.detach().cpu().double().softmax(1).max(1)
        self._batches.append((labels.cpu(), best.indices, best.values))

    def predictions(self) -> ImagePredictions:
        """Return the predictions of all batches."""
        labels, predicted, confidence = (torch.cat(column) for column in zip(*self._batches, strict=True))
        return ImagePredictions(labels, predicted, confidence, self._images, self._key)


def names_of_images(parts: Mapping[str, Split]) -> tuple[tuple[str, object], ...]:
    """Return the split of each image of splits, and its file or its position in the split.

    Args:
        parts: The splits, by name.
    """
    return tuple(
        (name, part.names[position] if part.names else position)
        for name, part in parts.items()
        for position in range(len(part))
    )


def images_key(data: Dataset, parts: Sequence[Split]) -> str:
    """Return a digest of a choice of images, without their pixels, which depend on the resolution.

    Args:
        data: The data set.
        parts: Splits of the data set.
    """
    digest = hashlib.blake2b(repr((data.name, data.classes)).encode("utf-8", "backslashreplace"), digest_size=16)
    for part in parts:
        rows = torch.arange(len(part)) if part.rows is None else part.rows
        names = repr(tuple(part.names)).encode("utf-8", "backslashreplace") if part.names else rows.numpy().tobytes()
        digest.update(names + part.labels.numpy().tobytes())
    return digest.hexdigest()

"""Measures of predictions for images with any number of labels: average precision, F1 and co-occurrence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from convwright.brief import Brief
from convwright.errors import UsageError
from convwright.evaluation.measures import ClassScore
from convwright.stats.average_precision import MeanPrecision, RankedScores, mean_precision
from convwright.stats.intervals import wilson
from convwright.training.evaluation import multi_label_loss


@dataclass(frozen=True)
class LabelScore(ClassScore):
    """Precision and recall of one class at its threshold, and its average precision over all thresholds."""

    threshold: float
    """Probability from which on the class is predicted."""
    average_precision: float | None
    """0 to 1; None without images of the class."""

    def to_dict(self) -> dict[str, object]:
        """Return every score."""
        scores = super().to_dict()
        return scores | {"threshold": self.threshold, "average_precision": self.average_precision}


@dataclass(frozen=True, eq=False)
class MultiLabelMeasures(Brief):
    """Measures of a network's predictions for images with any number of labels."""

    logits: torch.Tensor
    """N x K, float32."""
    labels: torch.Tensor
    """N x K, bool: the classes that each image has."""
    thresholds: tuple[float, ...]
    """Probability from which on each class is predicted."""
    loss: float
    """Mean over images of the binary cross-entropy, summed over classes."""

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @cached_property
    def probabilities(self) -> torch.Tensor:
        """N x K, float64, 0 to 1."""
        return self.logits.double().sigmoid()

    @cached_property
    def predicted(self) -> torch.Tensor:
        """N x K, bool: the classes whose probability is at least their threshold."""
        return self.probabilities >= torch.tensor(self.thresholds, dtype=torch.float64)

    @property
    def exact(self) -> torch.Tensor:
        """N, bool: the images for which exactly the classes that they have are predicted."""
        return (self.predicted == self.labels).all(1)

    @cached_property
    def mean_average_precision(self) -> MeanPrecision:
        """Mean average precision over the classes that have images, with its bootstrap interval over images."""
        return mean_precision(self.logits.numpy(), self.labels.numpy())

    def mean_precision_on(self, chosen: torch.Tensor) -> MeanPrecision | None:
        """Return the mean average precision on some of the images; None if none of these has a class.

        Args:
            chosen: N, bool.
        """
        labels = self.labels[chosen].numpy()
        return mean_precision(self.logits[chosen].numpy(), labels) if labels.any() else None

    @cached_property
    def average_precisions(self) -> np.ndarray:
        """K: average precision of each class; NaN for a class without images."""
        return RankedScores(self.logits.numpy(), self.labels.numpy()).average_precisions()

    @property
    def micro_f1(self) -> float | None:
        """F1 of all pairs of image and class together; None if no class is predicted and none is there."""
        return _f1(int((self.predicted & self.labels).sum()), int(self.labels.sum()), int(self.predicted.sum()))

    @property
    def macro_f1(self) -> float | None:
        """Mean of the F1 of each class that is predicted or has images; None if there is none."""
        scores = [score.f1 for score in self.class_scores([""] * len(self.thresholds)) if score.f1 is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def subset_accuracy(self) -> float:
        """Share of images for which exactly the classes that they have are predicted, 0 to 1."""
        return int(self.exact.sum()) / self.images

    @property
    def subset_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the subset accuracy."""
        return wilson(int(self.exact.sum()), self.images)

    @property
    def cooccurrence(self) -> torch.Tensor:
        """K x K, int64: images that have both classes; on the diagonal, images of each class."""
        return count_cooccurrence(self.labels)

    @property
    def predicted_cooccurrence(self) -> torch.Tensor:
        """K x K, int64: images for which both classes are predicted."""
        return count_cooccurrence(self.predicted)

    def class_scores(self, classes: Sequence[str]) -> list[LabelScore]:
        """Return the scores of each class.

        Args:
            classes: Names of the classes, in the order of the logits.
        """
        counts = torch.stack([self.labels.sum(0), self.predicted.sum(0), (self.labels & self.predicted).sum(0)], 1)
        precisions = [None if np.isnan(value) else float(value) for value in self.average_precisions]
        return [
            LabelScore(name, images, predicted, correct, threshold, precision)
            for name, (images, predicted, correct), threshold, precision in zip(
                classes, counts.tolist(), self.thresholds, precisions, strict=True
            )
        ]

    def to_dict(self, classes: Sequence[str]) -> dict[str, object]:
        """Return every measure.

        Args:
            classes: Names of the classes, in the order of the logits.
        """
        found = self.mean_average_precision
        return {
            "multi_label": True,
            "map": found.value,
            "interval": found.interval and list(found.interval),
            "loss": self.loss,
            "images": self.images,
            "micro_f1": self.micro_f1,
            "macro_f1": self.macro_f1,
            "subset_accuracy": self.subset_accuracy,
            "subset_interval": list(self.subset_interval),
            "labels_per_image": int(self.labels.sum()) / self.images,
            "classes": [score.to_dict() for score in self.class_scores(classes)],
            "cooccurrence": self.cooccurrence.tolist(),
            "predicted_cooccurrence": self.predicted_cooccurrence.tolist(),
        }


class MultiLabelTally:
    """Collects a multi-label network's logits batch by batch, for the measures of all of them.

    Args:
        thresholds: Probability from which on each class is predicted.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        self._thresholds = tuple(thresholds)
        self._batches: list[tuple[torch.Tensor, torch.Tensor]] = []

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch.

        Args:
            logits: N x K.
            labels: N x K, bool.
        """
        self._batches.append((logits.detach().float().cpu(), labels.cpu()))

    def measures(self) -> MultiLabelMeasures:
        """Return the measures of all batches so far.

        Raises:
            UsageError: No image was added, or none has a class.
        """
        if not self._batches:
            raise UsageError("there are no images to evaluate on")
        logits, labels = (torch.cat(column) for column in zip(*self._batches, strict=True))
        if not bool(labels.any()):
            raise UsageError("none of the images has a class; average precision needs some")
        loss = float(multi_label_loss(logits.double(), labels).mean())
        return MultiLabelMeasures(logits, labels, self._thresholds, loss)


def count_cooccurrence(labels: torch.Tensor) -> torch.Tensor:
    """Return how many images have both of two classes, K x K int64, for labels N x K."""
    present = labels.double()  # in which sums of ones are exact
    return (present.T @ present).long()


def _f1(correct: int, present: int, predicted: int) -> float | None:
    return 2 * correct / (present + predicted) if present + predicted else None

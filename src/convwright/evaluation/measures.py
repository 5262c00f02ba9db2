"""Measures of predictions for labelled images: confusion, precision and recall by class, and calibration."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from convwright.brief import Brief
from convwright.errors import UsageError
from convwright.evaluation.confusion import Confusion, PairCounter
from convwright.stats.intervals import wilson

BINS = 15
"""Equal widths of confidence for the calibration error, as in Guo et al. 2017."""
TOP = 5
"""Classes of the top-5 accuracy, which is only measured where there are more classes."""
LARGEST_MATRIX = 1000
"""Most classes whose confusion matrix is written as JSON; of more classes, the pairs that occur are."""


@dataclass(frozen=True)
class ClassScore(Brief):
    """Precision and recall of one class. A share of no images is None."""

    name: str
    images: int
    """Images of the class."""
    predicted: int
    """Images predicted as the class."""
    correct: int
    """Images of the class that are predicted as it."""

    @property
    def precision(self) -> float | None:
        """Share of images of the class among those predicted as it."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the images of the class that are predicted as it."""
        return self.correct / self.images if self.images else None

    @property
    def recall_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the recall."""
        return wilson(self.correct, self.images) if self.images else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return 2 * self.correct / (self.images + self.predicted) if self.images + self.predicted else None

    def to_dict(self) -> dict[str, object]:
        """Return every score."""
        return {
            "class": self.name,
            "images": self.images,
            "predicted": self.predicted,
            "precision": self.precision,
            "recall": self.recall,
            "recall_interval": self.recall_interval and list(self.recall_interval),
            "f1": self.f1,
        }


@dataclass(frozen=True)
class ReliabilityBin(Brief):
    """The images whose most likely class has a probability above `low` and up to `high`."""

    low: float
    high: float
    images: int
    confidence: float | None
    """Mean probability of the most likely class; None without images."""
    accuracy: float | None
    """Share of images predicted correctly; None without images."""


class ConfusedPair(NamedTuple):
    """A number of images of one class (by index) that are predicted as another class."""

    truth: int
    predicted_as: int
    images: int


@dataclass(frozen=True, eq=False)
class Measures(Brief):
    """Measures of a network's predictions for labelled images."""

    pairs: Confusion
    """How many images of each class are predicted as each class."""
    loss: float
    """Mean cross-entropy."""
    within_top: int | None
    """Images whose class is among the five most likely; None if there are no more than five classes."""
    reliability: tuple[ReliabilityBin, ...]

    @property
    def images(self) -> int:
        """Number of images."""
        return self.pairs.images

    @property
    def correct(self) -> int:
        """Number of images predicted correctly."""
        return self.pairs.correct

    @property
    def confusion(self) -> torch.Tensor:
        """Matrix, classes x classes, int64: at [i, j] the number of images of class i predicted as class j."""
        return self.pairs.matrix()

    @property
    def accuracy(self) -> float:
        """Share of images predicted correctly, 0 to 1."""
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return wilson(self.correct, self.images)

    @property
    def top5(self) -> float | None:
        """Share of images whose class is among the five most likely; None if there are no more than five classes."""
        return None if self.within_top is None else self.within_top / self.images

    @property
    def top5_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the top-5 accuracy."""
        return None if self.within_top is None else wilson(self.within_top, self.images)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy over the bins, weighted by images."""
        gaps = (
            filled.images * abs(filled.accuracy - filled.confidence)
            for filled in self.reliability
            if filled.accuracy is not None and filled.confidence is not None
        )
        return sum(gaps) / self.images

    def class_scores(self, classes: tuple[str, ...]) -> list[ClassScore]:
        """Return the scores of each class.

        Args:
            classes: Names of the classes, in the order of the confusion matrix.
        """
        columns = (self.pairs.by_class, self.pairs.by_prediction, self.pairs.correct_by_class)
        counts = zip(*(column.tolist() for column in columns), strict=True)
        return [ClassScore(name, *figures) for name, figures in zip(classes, counts, strict=True)]

    def most_confused(self, most: int) -> list[ConfusedPair]:
        """Return the pairs of classes that are confused most often, the most frequent pair first.

        Args:
            most: Largest number of pairs.
        """
        return [ConfusedPair(*pair) for pair in self.pairs.mistakes(most)]

    def to_dict(self, classes: tuple[str, ...]) -> dict[str, object]:
        """Return every measure.

        `confusion` has a row for each class, and a column for each predicted class. Of more than 1,000 classes it is
        None, and `confused` lists class, predicted class and images of each wrong pair that occurs.

        Args:
            classes: Names of the classes, in the order of the confusion matrix.
        """
        large = len(classes) > LARGEST_MATRIX
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "loss": self.loss,
            "images": self.images,
            "top5": self.top5,
            "top5_interval": self.top5_interval and list(self.top5_interval),
            "calibration_error": self.calibration_error,
            "reliability": [vars(part) for part in self.reliability],
            "classes": [score.to_dict() for score in self.class_scores(classes)],
            "confusion": None if large else self.confusion.tolist(),
            "confused": self.most_confused(len(self.pairs.counts)) if large else None,
        }


class Tally:
    """Collects a network's logits batch by batch, for the measures of all of them.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._pairs = PairCounter(classes)
        self._loss = 0.0
        self._within = 0
        self._bins = torch.zeros(3, BINS, dtype=torch.float64)  # images, sum of confidences, correct predictions

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch.

        Args:
            logits: N x classes; logarithms of probabilities are logits too.
            labels: N, int64.
        """
        labels = labels.cpu()
        # Double precision: in single precision, different probabilities close to 1 would be equal.
        logs = logits.detach().cpu().double().log_softmax(1)
        self._loss -= float(logs.gather(1, labels[:, None]).sum())
        best, predicted = logs.max(1)
        self._pairs.add(labels, predicted)
        if self._classes > TOP:
            self._within += int((logs.topk(TOP).indices == labels[:, None]).sum())

        confidence = best.exp()
        place = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
        for row, amounts in zip(self._bins, (torch.ones_like(best), confidence, predicted == labels), strict=True):
            row += torch.bincount(place, amounts.double(), minlength=BINS)

    def measures(self) -> Measures:
        """Return the measures of all batches so far.

        Raises:
            UsageError: No image was added.
        """
        pairs = self._pairs.confusion()
        if not (images := pairs.images):
            raise UsageError("there are no images to evaluate on")
        bins = tuple(
            ReliabilityBin(
                place / BINS,
                (place + 1) / BINS,
                int(count),
                confidence / count if count else None,
                correct / count if count else None,
            )
            for place, (count, confidence, correct) in enumerate(self._bins.T.tolist())
        )
        within = self._within if self._classes > TOP else None
        return Measures(pairs, self._loss / images, within, bins)

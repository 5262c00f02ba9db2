"""Images by class and predicted class, in memory that grows with the images and not with the classes squared."""

from dataclasses import dataclass

import torch

from convwright.brief import Brief

PENDING = 65_536
"""Images whose pairs are kept before they are counted."""


@dataclass(frozen=True, eq=False)
class Confusion(Brief):
    """How many images of each class are predicted as each class; only pairs that occur are held."""

    classes: int
    """Number of classes."""
    truth: torch.Tensor
    """Indices of the images' class, int64 M, in ascending order; each of the M pairs occurs once."""
    predicted: torch.Tensor
    """Indices of the predicted class, int64 M."""
    counts: torch.Tensor
    """Images of the pair, int64 M, at least 1."""

    @classmethod
    def of(cls, matrix: torch.Tensor) -> "Confusion":
        """Return the pairs of a matrix.

        Args:
            matrix: classes x classes, int64: at [i, j] the number of images of class i predicted as class j.
        """
        truth, predicted = matrix.nonzero().T
        return cls(len(matrix), truth, predicted, matrix[truth, predicted])

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    @property
    def correct(self) -> int:
        """Number of images predicted correctly."""
        return int(self.counts[self.truth == self.predicted].sum())

    @property
    def by_class(self) -> torch.Tensor:
        """Images of each class, int64."""
        return self._summed(self.truth, self.counts)

    @property
    def by_prediction(self) -> torch.Tensor:
        """Images predicted as each class, int64."""
        return self._summed(self.predicted, self.counts)

    @property
    def correct_by_class(self) -> torch.Tensor:
        """Images of each class that are predicted as it, int64."""
        right = self.truth == self.predicted
        return self._summed(self.truth[right], self.counts[right])

    def matrix(self) -> torch.Tensor:
        """Return classes x classes, int64: at [i, j] the number of images of class i predicted as class j."""
        return self.among(list(range(self.classes)))

    def among(self, chosen: list[int]) -> torch.Tensor:
        """Return the matrix of some classes.

        Args:
            chosen: Indices of K classes.

        Returns:
            K x K, int64: at [i, j] the number of images of class `chosen[i]` predicted as class `chosen[j]`.
        """
        places = torch.full((self.classes,), -1)
        places[chosen] = torch.arange(len(chosen))
        rows, columns = places[self.truth], places[self.predicted]
        kept = (rows >= 0) & (columns >= 0)
        found = torch.zeros(len(chosen), len(chosen), dtype=torch.int64)
        found[rows[kept], columns[kept]] = self.counts[kept]
        return found

    def mistakes(self, most: int) -> list[tuple[int, int, int]]:
        """Return class, predicted class and images of the wrong pairs, the most frequent first.

        Args:
            most: Largest number of pairs.
        """
        wrong = self.truth != self.predicted
        counts = self.counts[wrong]
        order = counts.argsort(descending=True, stable=True)[:most]
        columns = (column[wrong][order].tolist() for column in (self.truth, self.predicted))
        return list(zip(*columns, counts[order].tolist(), strict=True))

    def _summed(self, places: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        return torch.zeros(self.classes, dtype=torch.int64).index_add_(0, places, counts)


class PairCounter:
    """Counts pairs of class and predicted class batch by batch, in memory that grows with the pairs that occur.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._pairs = self._counts = torch.zeros(0, dtype=torch.int64)
        self._new: list[torch.Tensor] = []
        self._waiting = 0

    def add(self, truth: torch.Tensor, predicted: torch.Tensor) -> None:
        """Add the indices of classes and of predicted classes of a batch, each int64 N."""
        self._new.append(truth * self._classes + predicted)
        self._waiting += len(truth)
        # As many as there are pairs already, so that counting again and again takes linear time.
        if self._waiting >= max(PENDING, len(self._pairs)):
            self._count()

    def confusion(self) -> Confusion:
        """Return the counts of all batches."""
        self._count()
        return Confusion(self._classes, self._pairs // self._classes, self._pairs % self._classes, self._counts.clone())

    def _count(self) -> None:
        if not self._new:
            return
        found, counts = torch.cat(self._new).unique(return_counts=True)
        pairs, places = torch.cat([self._pairs, found]).unique(return_inverse=True)
        self._counts = torch.zeros_like(pairs).index_add_(0, places, torch.cat([self._counts, counts]))
        self._pairs, self._new, self._waiting = pairs, [], 0

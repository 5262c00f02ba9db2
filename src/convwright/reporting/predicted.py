"""Predictions of a network for every image of the splits that a report measures it on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from convwright.data import Dataset, Split
from convwright.evaluation.measures import Measures
from convwright.evaluation.multi_label import MultiLabelMeasures
from convwright.prediction.network import Predictor


@dataclass(frozen=True, eq=False)
class Predicted:
    """A network and the images that it was measured on."""

    predictor: Predictor
    data: Dataset
    parts: tuple[Split, ...]
    labels: torch.Tensor
    """The labels, as indices of the network's classes: N, int64; of several labels, N x classes, bool."""

    def take(self, positions: Sequence[int]) -> torch.Tensor:
        """Return the images at these positions: K x C x H x W, uint8."""
        return torch.stack([part.take(torch.tensor([row]))[0] for part, row in map(self._place, positions)])

    def name(self, position: int) -> str | None:
        """Return the name of an image's file; None for images without files."""
        part, row = self._place(position)
        return part.names[row] if part.names else None

    def classes_of(self, position: int) -> tuple[str, ...]:
        """Return the classes that an image has by its labels."""
        classes, labels = self.predictor.classes, self.labels[position]
        return tuple(classes[int(place)] for place in labels.nonzero()) if labels.ndim else (classes[int(labels)],)

    def _place(self, position: int) -> tuple[Split, int]:
        for part in self.parts:
            if position < len(part):
                return part, position
            position -= len(part)
        raise IndexError(position)


@dataclass(frozen=True, eq=False)
class SplitPredictions(Predicted):
    """A network's predictions for every image of one or more splits, in their order."""

    predicted: torch.Tensor
    """N, int64: the classes with the highest probability."""
    confidence: torch.Tensor
    """N: the probability of the predicted class."""
    measures: Measures
    images_key: str
    """Digest of the images and their order, whatever resolution the network reads them at."""

    @property
    def correct(self) -> torch.Tensor:
        """N, bool: which predictions are correct."""
        return self.labels == self.predicted

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy."""
        return float(self.confidence.double().mean()) - self.measures.accuracy

    @property
    def mistakes(self) -> list[int]:
        """Positions of the wrongly predicted images, the most confident first."""
        wrong = (~self.correct).nonzero()[:, 0]
        return wrong[self.confidence[wrong].argsort(descending=True, stable=True)].tolist()


@dataclass(frozen=True, eq=False)
class LabelPredictions(Predicted):
    """A multi-label network's predictions for every image of one or more splits, in their order."""

    measures: MultiLabelMeasures
    images_key: str
    """Digest of the images and their order, whatever resolution the network reads them at."""

    @cached_property
    def mistakes(self) -> list[tuple[int, int]]:
        """Position and class of each wrong prediction of a class, the most confident first."""
        wrong = (self.measures.predicted != self.labels).nonzero()
        sure = self.certainty(wrong)
        return [(int(row), int(label)) for row, label in wrong[sure.argsort(descending=True, stable=True)]]

    def certainty(self, pairs: torch.Tensor) -> torch.Tensor:
        """Return the probability of what is predicted, for P x 2 positions and classes: present, or absent."""
        chances = self.measures.probabilities[pairs[:, 0], pairs[:, 1]]
        return torch.where(self.measures.predicted[pairs[:, 0], pairs[:, 1]], chances, 1 - chances)

"""A trained network of a report, with its measurements."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from convwright.arch import Cost
from convwright.arch.cost import cost
from convwright.data import Dataset, Split
from convwright.evaluation.measures import Measures
from convwright.prediction.network import Predictor
from convwright.training.run import Run


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """A network's predictions for every image of one or more splits, in their order."""

    predictor: Predictor
    data: Dataset
    parts: tuple[Split, ...]
    labels: torch.Tensor
    """N, int64: the labels, as indices of the network's classes."""
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

    def take(self, positions: Sequence[int]) -> torch.Tensor:
        """Return the images at these positions: K x C x H x W, uint8."""
        return torch.stack([part.take(torch.tensor([row]))[0] for part, row in map(self._place, positions)])

    def name(self, position: int) -> str | None:
        """Return the name of an image's file; None for images without files."""
        part, row = self._place(position)
        return part.names[row] if part.names else None

    def _place(self, position: int) -> tuple[Split, int]:
        for part in self.parts:
            if position < len(part):
                return part, position
            position -= len(part)
        raise IndexError(position)


@dataclass(frozen=True)
class Latency:
    """Median time of one image through a network, on a machine that does nothing else."""

    seconds: float
    threads: int
    """Threads of torch."""
    doubt: str = ""
    """Why the time cannot be relied on: the machine was busy. Then it is that of the fastest run, not the median."""


@dataclass(frozen=True)
class Entry:
    """A trained network and its accuracy on the images of a split."""

    title: str
    """Name of the network on the page, such as "DenseNet-BC"."""
    run: Run
    accuracy: float
    """Share of correct predictions, 0 to 1."""
    interval: tuple[float, float]
    """95 % confidence interval of the accuracy."""
    images: int
    """Number of images that the accuracy was measured on."""
    split: str
    """`test`, `val`, or `all` for the whole of other data."""
    predictions: SplitPredictions | None = None
    """The predictions behind the accuracy; without them the page shows less."""
    latency: Latency | None = None
    data: str | None = None
    """The data that it was measured on, where that is not the run's own."""

    @cached_property
    def cost(self) -> Cost:
        """Cost of the network on one image."""
        return cost(self.run.network)

    @property
    def seconds(self) -> float | None:
        """Seconds of the training steps; None before the first validation."""
        rows = self.run.metrics
        return rows[-1]["seconds"] if rows else None

    @property
    def images_per_second(self) -> float | None:
        """Training images a second, over the whole run."""
        return self.images_seen[-1] / self.seconds if self.seconds else None

    @property
    def images_seen(self) -> list[float]:
        """Training images seen by each validation, repetitions counted."""
        return images_seen(self.run)

    @property
    def measured_on(self) -> Hashable:
        """Key of the measured images; accuracies are comparable where it is equal."""
        return self.predictions.images_key if self.predictions else (self.run.data.fingerprint, self.split, self.images)


def images_seen(run: Run) -> list[float]:
    """Return how many training images a run had seen by each validation, repetitions counted."""
    batch = min(run.config.batch_size, run.data.images["train"])
    return [row["step"] * batch for row in run.metrics]


Numbered = tuple[int, Entry]
"""A network with its number on the page, which determines its colour."""


def peers(entries: Sequence[Entry]) -> Iterator[list[Numbered]]:
    """Yield the networks that were measured on the same images together, where there are two or more."""
    groups: dict[Hashable, list[Numbered]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault(entry.measured_on, []).append((index, entry))
    yield from (group for group in groups.values() if len(group) > 1)

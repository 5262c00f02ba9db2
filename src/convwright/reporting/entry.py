"""One trained network on the page, and what follows from its run."""

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
class Answers:
    """What a network answers to every image of some splits, in their order."""

    predictor: Predictor
    data: Dataset
    parts: tuple[Split, ...]
    labels: torch.Tensor
    """N, in the network's own order of classes, like `predicted`."""
    predicted: torch.Tensor
    confidence: torch.Tensor
    """N: the probability of what is predicted."""
    measures: Measures
    images_key: str
    """The same for the same images in the same order, at whatever resolution the network sees them."""

    @property
    def right(self) -> torch.Tensor:
        """N, bool: which images are recognised."""
        return self.labels == self.predicted

    @property
    def overconfidence(self) -> float:
        """Mean confidence less accuracy."""
        return float(self.confidence.double().mean()) - self.measures.accuracy

    @property
    def mistakes(self) -> list[int]:
        """Positions of the images that are not recognised, the surest mistake first."""
        wrong = (~self.right).nonzero()[:, 0]
        return wrong[self.confidence[wrong].argsort(descending=True, stable=True)].tolist()

    def take(self, positions: Sequence[int]) -> torch.Tensor:
        """Return the images at these positions as the data has them: uint8, K x C x H x W."""
        return torch.stack([part.take(torch.tensor([row]))[0] for part, row in map(self._place, positions)])

    def name(self, position: int) -> str | None:
        """Return the name of an image's file, if it came from one."""
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
    """The median time of one image through a network, in seconds, with so many threads of torch."""

    seconds: float
    threads: int


@dataclass(frozen=True)
class Entry:
    """A trained network, and its accuracy (0 to 1) on so many images of a split of its data."""

    title: str
    """The network as a reader would call it, such as "DenseNet-BC"."""
    run: Run
    accuracy: float
    interval: tuple[float, float]
    """95 % confidence interval of the accuracy."""
    images: int
    split: str
    answers: Answers | None = None
    """What stands behind the accuracy; without it the page shows less."""
    latency: Latency | None = None
    data: str | None = None
    """The data it was measured on, where that is not the run's own."""

    @cached_property
    def cost(self) -> Cost:
        """What the network costs on one image."""
        return cost(self.run.network)

    @property
    def seconds(self) -> float | None:
        """Time spent on training steps; None before the first validation."""
        rows = self.run.metrics
        return rows[-1]["seconds"] if rows else None

    @property
    def images_per_second(self) -> float | None:
        """Training images a second, over the whole run."""
        return self.images_seen[-1] / self.seconds if self.seconds else None

    @property
    def images_seen(self) -> list[float]:
        """Training images that the network had seen by each validation, repetitions counted."""
        return images_seen(self.run)

    @property
    def measured_on(self) -> Hashable:
        """What the accuracy was measured on; accuracies compare where this is the same."""
        return self.answers.images_key if self.answers else (self.run.data.fingerprint, self.split, self.images)


def images_seen(run: Run) -> list[float]:
    """Return how many training images a run had seen by each validation, repetitions counted."""
    batch = min(run.config.batch_size, run.data.images["train"])
    return [row["step"] * batch for row in run.metrics]


Numbered = tuple[int, Entry]
"""A network with its number on the page, which decides its colour."""


def peers(entries: Sequence[Entry]) -> Iterator[list[Numbered]]:
    """Yield the networks that were measured on the same images together, where there are two or more."""
    groups: dict[Hashable, list[Numbered]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault(entry.measured_on, []).append((index, entry))
    yield from (group for group in groups.values() if len(group) > 1)

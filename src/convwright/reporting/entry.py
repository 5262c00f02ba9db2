"""A trained network of a report, with its measurements."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from convwright.arch import Cost
from convwright.arch.cost import cost
from convwright.evaluation.overlap import Overlap
from convwright.reporting.predicted import LabelPredictions, Predicted, SplitPredictions
from convwright.training.run import Run


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
    """A trained network and its accuracy, or mean average precision, on the images of a split."""

    title: str
    """Name of the network on the page, such as "DenseNet-BC"."""
    run: Run
    accuracy: float
    """Share of correct predictions, 0 to 1; of a multi-label network, mean average precision."""
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
    label_predictions: LabelPredictions | None = None
    """The predictions of a multi-label network, instead of `predictions`."""
    overlap: Overlap = field(default=Overlap(), repr=False)
    """The images that the network was trained on."""

    @property
    def measure(self) -> str:
        """What `accuracy` is: accuracy, or mean average precision."""
        return "mean average precision" if self.run.multi_label else "accuracy"

    @property
    def predicted(self) -> Predicted | None:
        """The predictions of either kind."""
        return self.predictions or self.label_predictions

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
        found = self.predictions or self.label_predictions
        return found.images_key if found else (self.run.data.fingerprint, self.split, self.images)


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

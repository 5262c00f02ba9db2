"""One trained network on the page, and what follows from its run."""

from dataclasses import dataclass

from convwright.arch import Cost, cost
from convwright.training.run import Run


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

    @property
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
        batch = min(self.run.config.batch_size, self.run.data.images["train"])
        return [row["step"] * batch for row in self.run.metrics]

    @property
    def measured_on(self) -> tuple[str, str, int]:
        """What the accuracy was measured on; accuracies compare where this is the same."""
        return self.run.data.fingerprint, self.split, self.images

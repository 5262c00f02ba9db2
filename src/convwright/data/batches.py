"""Batches as a function of (seed, step): whatever a run did before, step k sees the same images."""

from collections.abc import Generator, Iterator

import torch

from convwright.data.augmentation import Augmentation
from convwright.data.dataset import Dataset, Split
from convwright.data.mixing import weighted
from convwright.data.sampling import Sampling, epoch_order
from convwright.data.threads import prefetch
from convwright.errors import UsageError
from convwright.seeds import derive


class Batches:
    """The endless training batches of a split, addressed by step."""

    def __init__(
        self,
        split: Split,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        *,
        sampling: Sampling = "uniform",
    ) -> None:
        _check(batch_size)
        self.split = split
        self.dataset = dataset
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        self.sampling = sampling
        weights = split.weights
        self._weights = None if weights is None else weights / weights.mean()
        """Weight of each image in the loss: 1 on average, so that the learning rate keeps its meaning."""
        self._order: tuple[int, torch.Tensor] = (
            -1,
            torch.empty(0),
        )
        """The last epoch and its order, which the next call usually needs again."""

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the split; the remaining images of an epoch are left out."""
        return len(self.split) // self.batch_size

    def at(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalised, augmented images and their labels.

        Labels are those of the split, or float N x classes where images are mixed. Where images have weights, labels
        are float N x (classes + 1), with the weights in the last column.
        """
        return self.augmented(self.rows_at(step), step)

    def augmented(self, rows: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images as they would be augmented if they were those of a step, and their labels, as of `at`.

        Args:
            rows: Positions in the split.
            step: The step.
        """
        classes = len(self.dataset.classes)
        generator = torch.Generator().manual_seed(derive(self.seed, "augment", step))
        images = self.augmentation.distort(self.stored(rows), generator, self.dataset.size)
        images = self.augmentation.apply(self.dataset.normalise(images), generator)
        labels = self.split.labels[rows]
        if self._weights is not None:
            labels = weighted(labels, self._weights[rows], classes)
        return self.augmentation.mix(images, labels, classes, generator)

    def stored(self, rows: torch.Tensor) -> torch.Tensor:
        """Return images as they are stored: larger ones, if there are any, where crops of them are resized."""
        larger = self.split.larger if self.augmentation.crop_scale else None
        return (self.split if larger is None else larger).take(rows)

    def rows_at(self, step: int) -> torch.Tensor:
        """Return the positions in the split of a step's images."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return self._order_of(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]

    def describe(self, step: int, most: int = 5) -> str:
        """Return the names of a step's first images: of their files, or their positions in the training split."""
        rows = self.rows_at(step).tolist()
        names = self.split.names
        shown = [names[row] for row in rows[:most]] if names else [str(row) for row in rows[:most]]
        more = f" and {len(rows) - most} more" if len(rows) > most else ""
        return f"{'files' if names else 'training images'} {', '.join(shown)}{more}"

    def iterate(
        self, start: int, stop: int, workers: int = 0
    ) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
        """Yield the batches of steps `start` up to `stop`.

        The batches do not depend on the number of workers. Closing the generator ends the threads.

        Args:
            start: First step.
            stop: Step after the last one.
            workers: Threads that prefetch batches; 0: batches are made when they are used.
        """
        return prefetch(self.at, range(start, stop), workers)

    def _order_of(self, epoch: int) -> torch.Tensor:
        cached_epoch, order = self._order  # one read: another thread may be at another epoch
        if cached_epoch != epoch:
            order = epoch_order(self.split.labels, self.seed, epoch, self.sampling)
            self._order = (epoch, order)
        return order


def evaluation_batches(split: Split, dataset: Dataset, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (images, labels) of the whole split, in order, normalised and otherwise as they are."""
    _check(batch_size)
    pieces = torch.split(torch.arange(len(split)), batch_size)
    return ((dataset.normalise(split.take(rows)), split.labels[rows]) for rows in pieces)


def _check(batch_size: int) -> None:
    if batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, not {batch_size}")

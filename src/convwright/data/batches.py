"""Batches as a function of (seed, step): whatever a run did before, step k sees the same images."""

from collections.abc import Generator, Iterator
from functools import partial

import torch

from convwright.data.augmentation import Augmentation
from convwright.data.dataset import Dataset, Split
from convwright.data.mixing import weighted
from convwright.data.sampling import Sampling, epoch_order
from convwright.data.streaming import StreamedImages
from convwright.data.threads import prefetch
from convwright.errors import UsageError
from convwright.seeds import derive

STREAMED_AHEAD = 2
"""Threads that prefetch batches of images that other processes decode."""


class Batches:
    """The endless training batches of a split, addressed by step.

    Args:
        split: The images.
        dataset: The data set of the split.
        batch_size: Images of a batch.
        seed: Seed of the order and of the augmentation.
        augmentation: How images are varied.
        sampling: Which images an epoch has.
        device: Where images are augmented; None: where they are stored, on the CPU. All draws are made on the CPU, so
            that they are the same on every device.
        part: Number of this process and of all processes that share each batch. Where images are decoded when they are
            read, a process decodes its part only: the others are black, unless images are mixed.
    """

    def __init__(
        self,
        split: Split,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        *,
        sampling: Sampling = "uniform",
        device: torch.device | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        _check(batch_size)
        self.split = split
        self.dataset = dataset
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        self.sampling = sampling
        self.device = device
        self.part = part
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
        """Return normalised, augmented images, on the device of the batches, and their labels, on the CPU.

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
        images = self.stored(rows) if self.device is None else self.stored(rows).to(self.device)
        images = self.augmentation.distort(images, generator, self.dataset.size)
        images = self.augmentation.apply(self.dataset.normalise(images), generator)
        labels = self.split.labels[rows]
        if self._weights is not None:
            labels = weighted(labels, self._weights[rows], classes)
        return self.augmentation.mix(images, labels, classes, generator)

    def stored(self, rows: torch.Tensor) -> torch.Tensor:
        """Return images as they are stored: larger ones, if there are any, where crops of them are resized.

        Where they are decoded now, those of other processes may be black.
        """
        split, (number, processes) = self._source, self.part
        needs_all = self.augmentation.mixup or self.augmentation.cutmix
        if processes == 1 or needs_all or not isinstance(split.store, StreamedImages):
            return split.take(rows)
        own = torch.arange(len(rows)).tensor_split(processes)[number]
        images = torch.zeros(len(rows), *split.store.shape[1:], dtype=torch.uint8)
        images[own] = split.take(rows[own])
        return images

    @property
    def _source(self) -> Split:
        larger = self.split.larger if self.augmentation.crop_scale else None
        return self.split if larger is None else larger

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
            workers: Threads that prefetch batches; 0: batches are made when they are used. Where images are decoded
                when they are read, processes that decode them; 0: one for each core.
        """
        store = self._source.store
        if isinstance(store, StreamedImages):
            if workers:
                store.processes = workers
            workers = STREAMED_AHEAD
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
    streamed = isinstance(split.store, StreamedImages)
    return prefetch(partial(_evaluated, split, dataset), pieces, STREAMED_AHEAD if streamed else 0)


def _evaluated(split: Split, dataset: Dataset, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return dataset.normalise(split.take(rows)), split.labels[rows]


def _check(batch_size: int) -> None:
    if batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, not {batch_size}")

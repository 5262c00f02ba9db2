"""Images of an evaluation that the run was trained on, recognised by the digests of their pixels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from convwright.brief import Brief
from convwright.data import Dataset, Split
from convwright.data.dataset import Traits
from convwright.display.wording import counted
from convwright.errors import ConvwrightError
from convwright.evaluation.assessment import CHUNK, with_channels
from convwright.training.run import Run
from convwright.training.run_data import open_run_data
from convwright.training.training_images import TrainingImages, shortened, training_images_of


@dataclass(frozen=True, eq=False)
class Overlap(Brief):
    """Which images of an evaluation the run was trained on."""

    trained_on: torch.Tensor | None = None
    """N, bool, in the order of the evaluation; None: unknown."""
    unknown: str = ""
    """Why it is unknown, where it was looked for."""

    @property
    def images(self) -> int | None:
        """Number of images that the run was trained on; None: unknown."""
        return None if self.trained_on is None else int(self.trained_on.sum())

    @property
    def new(self) -> torch.Tensor | None:
        """N, bool: the images that the run was not trained on; None: unknown."""
        return None if self.trained_on is None else ~self.trained_on


def overlap_of(run: Run, data: Dataset, parts: Iterable[Split], *, own_data: bool) -> Overlap:
    """Find the training images of a run among images to evaluate.

    A run of an earlier version did not record its training images; then its data is opened again, and where that is not
    possible or the data has changed, the overlap is unknown.

    Args:
        run: The run.
        data: The data set of the images.
        parts: The splits of the data set that are evaluated, in order.
        own_data: Whether the data set is the run's own.
    """
    known = training_images_of(run) or _opened_again(run, data if own_data else None)
    if known is None:
        return Overlap(unknown="it was made by an earlier version, and its data cannot be opened as it was")
    if known.shape[1:] != data.size:
        return Overlap(unknown="it was trained on images of another size")
    return Overlap(torch.cat([known.contain(digests_of(part, known.shape[0])) for part in parts]))


def overlap_of_images(run: Run, images: Sequence[torch.Tensor]) -> Overlap:
    """Find the training images of a run among images as its network reads them.

    Args:
        run: The run.
        images: Each C x H x W, uint8, all of one size.
    """
    known = training_images_of(run) or _opened_again(run, None)
    if known is None:
        return Overlap(unknown="it was made by an earlier version, and its data cannot be opened as it was")
    if known.shape[1:] != tuple(images[0].shape[1:]):
        return Overlap(unknown="it was trained on images of another size")
    digests = [
        shortened(Traits.of(with_channels(torch.stack(list(images[at : at + CHUNK])), known.shape[0])).digests)
        for at in range(0, len(images), CHUNK)
    ]
    return Overlap(known.contain(torch.cat(digests)))


def digests_of(part: Split, channels: int) -> torch.Tensor:
    """Return the digests of a split's images in 1 (grey) or 3 channels, N int64."""
    if part.channels == channels:
        return shortened(part.traits().digests)
    read = (part.take(rows) for rows in torch.arange(len(part)).split(CHUNK))
    return torch.cat([shortened(Traits.of(with_channels(images, channels)).digests) for images in read])


def overlap_notes(overlap: Overlap, measured_on: Callable[[torch.Tensor], str], name: str = "the run") -> Iterator[str]:
    """Yield a line on the images that a run was trained on, and what is measured on the others.

    Args:
        overlap: The images.
        measured_on: Returns a measure on some of the images (N, bool) in words.
        name: The run in the sentence.
    """
    if overlap.unknown:
        yield f"whether {name} was trained on some of these images is unknown: {overlap.unknown}"
    if overlap.new is None or not overlap.images:
        return
    new = int(overlap.new.sum())
    if not new:
        yield f"{name} was trained on all of these images, which do not show how well it does on new ones"
        return
    yield (
        f"{name} was trained on {overlap.images:,} of these {len(overlap.new):,} images; on the other {new:,}: "
        f"{measured_on(overlap.new)}"
    )


def overlap_sentence(run: Run | None, data: Dataset, part: Split, which: str) -> str:
    """Return a sentence on how many images of a run's own data it was trained on as well; empty where none is known.

    Args:
        run: The run; None for a network that comes from no run.
        data: The data of the run.
        part: The split that is measured.
        which: Name of its images, such as `validation`.
    """
    images = overlap_of(run, data, [part], own_data=True).images if run and part is not data.train else None
    if not images:
        return ""
    return (
        f"The network was trained on {images:,} of the {counted(len(part), f'{which} image')} as well: copies of them."
    )


def _opened_again(run: Run, data: Dataset | None) -> TrainingImages | None:
    """Return the training images of a run of an earlier version, if its data is what it was."""
    try:
        found = data or open_run_data(run)
    except (ConvwrightError, OSError):
        return None
    return TrainingImages.of(found) if found.fingerprint == run.data.fingerprint else None

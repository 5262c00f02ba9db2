"""Predictions for many images, batch by batch, with the next images decoded while the network computes."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright.data.threads import prefetch
from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.prediction.base import BATCH, BasePredictor
from convwright.prediction.files import FilePredictor, RunPredictor, open_predictor, path_of
from convwright.prediction.hub import resolved
from convwright.prediction.image_files import AnyImages, FoundImages, NamedImage, find_images
from convwright.prediction.outcomes import Prediction, UnreadableImage

if TYPE_CHECKING:
    import torch

    from convwright.training.run import Run

TOP = 3
"""Classes that are named for each image by default."""
READ_AHEAD = 2
"""Batches decoded while the network computes the one before."""


@dataclass(frozen=True)
class Batch:
    """The images of a batch: an outcome for each, and the pixels of those that could be read."""

    outcomes: tuple[Prediction | UnreadableImage, ...]
    pixels: tuple[Any, ...]
    """C x H x W, uint8, as the network reads them."""


@dataclass(frozen=True)
class PredictionStream:
    """Images and the predictor that ranks classes for them; nothing is computed before `batches` is iterated over."""

    predictor: BasePredictor
    found: FoundImages
    top: int | None
    """Classes to name for each image; None for sets of classes."""
    batch_size: int
    coverage: float | None = None
    """Share of images whose prediction set contains the true class; None: there are no sets."""

    @property
    def sets(self) -> bool:
        """Whether images have sets of classes instead of the most likely ones."""
        return self.predictor.multi_label or self.coverage is not None

    def batches(self, *, progress: bool = False) -> Generator[Batch, None, None]:
        """Yield batches in the order of the images.

        Args:
            progress: Whether a terminal shows how many images of several batches are done.

        Raises:
            ArgumentError: A value in memory is no image.
        """
        total, done = len(self.found), 0
        with ExitStack() as stack:
            show = None
            if progress and total > self.batch_size:
                from convwright.display.progress import counting  # here, since one batch shows no progress

                show = stack.enter_context(counting())
            for images, pixels in stack.enter_context(closing(self._read_ahead())):
                yield self._predicted(images, pixels)
                done += len(images)
                if show:
                    show(done, total, "predicting")

    def _predicted(self, images: Sequence[NamedImage], read: Sequence[Any]) -> Batch:
        for image, pixels in zip(images, read, strict=True):
            if isinstance(pixels, UsageError):
                raise ArgumentError("images", f"{image.name}: {pixels}")
        good = tuple(pixels for pixels in read if not isinstance(pixels, ConvwrightError))
        predictions = iter(self.predictor.rank(good, self.top, self.coverage))
        outcomes: list[Prediction | UnreadableImage] = []
        for image, pixels in zip(images, read, strict=True):
            if isinstance(pixels, ConvwrightError):
                outcomes.append(UnreadableImage(image.name, str(pixels)))
            else:
                outcomes.append(replace(next(predictions), file=image.name))
        return Batch(tuple(outcomes), good)

    def _read_ahead(self) -> Generator[tuple[list[NamedImage], list[Any]], None, None]:
        """Yield the images of each batch and their pixels or errors, decoded in threads."""

        def read(images: list[NamedImage]) -> tuple[list[NamedImage], list[Any]]:
            return images, self.predictor.read_all([each.image for each in images])

        yield from prefetch(read, self._split(), 1, READ_AHEAD)

    def _split(self) -> Iterator[list[NamedImage]]:
        for start in range(0, len(self.found), self.batch_size):
            yield self.found.images[start : start + self.batch_size]


def open_stream(
    run: "Run | str | Path",
    images: AnyImages = (),
    files_from: str | Path | None = None,
    *,
    top: int | None = None,
    batch_size: int = BATCH,
    device: "torch.device | str" = "auto",
    engine: str | None = None,
    weights: str | None = None,
    coverage: float | None = None,
) -> PredictionStream:
    """Load a predictor and find images for it.

    Args:
        run: A run or its directory, an exported file, or with `weights` a network.
        images: What `find_images` takes.
        files_from: A file that lists more images.
        top: Classes to name for each image; None: 3, or with a multi-label network all above their thresholds.
        batch_size: Images of a batch.
        device: Where torch computes.
        engine: Engine of an exported file.
        weights: Published weights for a network.
        coverage: Share of images whose prediction set contains the true class; None: there are no sets.

    Raises:
        RunError: The value is no run, or the run is damaged.
        UsageError: No image was found, or the arguments exclude each other.
    """
    run = resolved(run)
    predictor: BasePredictor = open_predictor(run, device, engine, weights)
    predictor.check_top(top, coverage)
    found = find_images(images, files_from)
    if coverage is not None:
        predictor = _with_limits(predictor, run)
    sets = predictor.multi_label or coverage is not None
    most = None if sets else min(top or TOP, len(predictor.classes))
    return PredictionStream(predictor, found, most, batch_size, coverage)


def _with_limits(predictor: BasePredictor, run: "Run | str | Path") -> BasePredictor:
    """Return a predictor that has limits, which it finds before anything is predicted."""
    if isinstance(predictor, FilePredictor) and predictor.card.limits is None and path_of(run).is_dir():
        predictor = RunPredictor(path_of(run), predictor)
    predictor.find_limits()
    return predictor

"""Predictions for many images, batch by batch, with the next images decoded while the network computes."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.data.threads import prefetch
from convwright.errors import ArgumentError
from convwright.prediction.base import BATCH, BasePredictor
from convwright.prediction.batches import Batch, predict_batch, slices
from convwright.prediction.cluster import ClusterOptions, ClusterPredictions
from convwright.prediction.files import FilePredictor, RunPredictor, open_predictor, path_of
from convwright.prediction.hub import resolved
from convwright.prediction.image_files import AnyImages, FoundImages, NamedImage, find_images

if TYPE_CHECKING:
    import torch

    from convwright.training.run import Run

TOP = 3
"""Classes that are named for each image by default."""
REPORT_SECONDS = 10.0
"""Time between two lines of progress of a cluster."""
READ_AHEAD = 2
"""Batches decoded while the network computes the one before."""


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
    cluster: ClusterOptions | None = None
    """The Ray cluster on which to predict; None: this machine."""

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
            show = self._progress(stack) if progress and total > self.batch_size else None
            for batch in stack.enter_context(closing(self._computed())):
                yield batch
                done += len(batch.outcomes)
                if show:
                    show(done)

    def _progress(self, stack: ExitStack) -> Callable[[int], None]:
        """Return what shows how many images are done: a bar, and of a cluster without a terminal lines."""
        from convwright.display.progress import counting, errors, print_progress  # here: one batch shows no progress

        total, reported = len(self.found), time.monotonic()
        if self.cluster is None or errors.is_terminal:
            bar = stack.enter_context(counting())
            return lambda done: bar(done, total, "predicting")

        def report(done: int) -> None:
            nonlocal reported
            if time.monotonic() - reported > REPORT_SECONDS or done == total:
                print_progress(f"predicted {done:,} of {total:,} images")
                reported = time.monotonic()

        return report

    def _computed(self) -> Generator[Batch, None, None]:
        """Yield the batches, computed on this machine or on the cluster."""
        if self.cluster is not None:
            predictions = ClusterPredictions(self.predictor, self.top, self.coverage, self.cluster)
            yield from predictions.batches(self.found.images, self.batch_size)
            return

        def read(images: Sequence[NamedImage]) -> tuple[Sequence[NamedImage], list[object]]:
            return images, self.predictor.read_all([each.image for each in images])

        parts = (self.found.images[each] for each in slices(len(self.found), self.batch_size))
        with closing(prefetch(read, parts, 1, READ_AHEAD)) as batches:
            for images, pixels in batches:
                yield predict_batch(self.predictor, [each.name for each in images], pixels, self.top, self.coverage)


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
    cluster: str | None = None,
    cores_per_task: int = 1,
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
        cluster: Address of a Ray cluster to predict on; None: this machine.
        cores_per_task: Cores of each worker of the cluster.

    Raises:
        RunError: The value is no run, or the run is damaged.
        UsageError: No image was found, or the arguments exclude each other.
    """
    options = _cluster_options(cluster, cores_per_task, str(device))
    run = resolved(run)
    predictor: BasePredictor = open_predictor(run, "cpu" if options else device, engine, weights)
    predictor.check_top(top, coverage)
    found = find_images(images, files_from)
    if coverage is not None:
        predictor = _with_limits(predictor, run)
    sets = predictor.multi_label or coverage is not None
    most = None if sets else min(top or TOP, len(predictor.classes))
    return PredictionStream(predictor, found, most, batch_size, coverage, options)


def _cluster_options(address: str | None, cores: int, device: str) -> ClusterOptions | None:
    """Return checked options of a cluster; None without an address."""
    if address is None:
        if cores != 1:
            raise ArgumentError("cores_per_task", "needs `cluster`; on this machine all cores predict")
        return None
    options = ClusterOptions(address, cores)
    options.check(device)
    return options


def _with_limits(predictor: BasePredictor, run: "Run | str | Path") -> BasePredictor:
    """Return a predictor that has limits, which it finds before anything is predicted."""
    if isinstance(predictor, FilePredictor) and predictor.card.limits is None and path_of(run).is_dir():
        predictor = RunPredictor(path_of(run), predictor)
    predictor.find_limits()
    return predictor

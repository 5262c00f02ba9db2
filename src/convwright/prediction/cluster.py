"""Predictions on a Ray cluster, through Ray Data.

This process sends the names of the images, in batches, to an actor of the cluster that runs a pipeline of Ray Data
there: with Ray's client (`ray://`), Ray Data does not run in this process. The pipeline's workers read the images, so
their nodes must have them under the same paths. Batches are those of a prediction without a cluster, and come back in
the order of the images. A worker that dies is replaced and its batch computed again; if the actor dies, another one
begins with the first batch that has not come back.
"""

import os
import pickle
import platform
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convwright.data.images import quiet, reason
from convwright.data.threads import prefetch
from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.prediction.base import BasePredictor
from convwright.prediction.batches import Batch, predict_batch, slices
from convwright.prediction.image_files import NamedImage
from convwright.prediction.portable import PortablePredictor
from convwright.prediction.result import PICTURES
from convwright.printable import printable
from convwright.ray_connection import RayConnection, last_line, require_ray_library
from convwright.version import __version__

RETRIES = 3
"""Repetitions of a batch whose worker has died, and of the pipeline if its actor has died."""
AHEAD = 4
"""Results that are requested before the one that is awaited has come."""
MOST_BLOCKS = 10_000
"""Blocks of Ray Data; with more batches, several batches form a block."""
SHOWN = 2 * PICTURES
"""First images whose pixels come back, so that a notebook can show those among them that could be read."""
SILENT_SECONDS = 30.0
"""Time without a result after which a line reports that the cluster is waited for."""
PURPOSE = "predicting on a cluster"


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster on which to predict."""

    address: str
    """What `ray start` printed, `auto`, or `local` for a cluster of this process alone."""
    cores: int = 1
    """Processor cores of each worker."""

    def check(self, device: str) -> None:
        """Check options before anything is loaded.

        Raises:
            ArgumentError: The device does not apply to a cluster.
            UsageError: Ray, or a package that Ray Data needs, is not installed.
        """
        if device not in ("cpu", "auto"):
            raise ArgumentError("device", f"must be cpu or auto with a cluster, whose workers use CPUs, not {device}")
        require_ray_library("ray.data", PURPOSE)


@dataclass(frozen=True)
class _Item:
    """An image of a batch: a file, which the worker reads, or what was read here."""

    name: str
    path: str = ""
    read: Any = None
    """Pixels, or the error."""


@dataclass(frozen=True)
class _Job:
    """What all batches share."""

    predictor: PortablePredictor
    top: int | None
    coverage: float | None
    cores: int


@dataclass(frozen=True)
class _Answer:
    """What a worker returns for a batch."""

    batch: Batch | None = None
    failure: str = ""
    """Why the network failed; empty if it has not."""
    inaccessible: Mapping[str, str] | None = None
    """Reasons by path of files that the worker's node does not have or may not read."""
    node: str = ""


class _Worker:
    """Predicts batches in a process of Ray Data.

    Args:
        version: Version of Convwright of the process that predicts.
        job: A list with the reference to the job, so that Ray does not wait for it before the worker starts.
    """

    def __init__(self, version: str, job: Sequence[Any]) -> None:
        self.version, self.reference = version, job
        self.job: _Job | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the number of a batch and its pickled answer."""
        try:
            answer = self._answer(pickle.loads(row["items"]), int(row["pictures"]))
        except ConvwrightError as error:
            answer = _Answer(failure=str(error), node=platform.node())
        return {"number": row["number"], "answer": pickle.dumps(answer)}

    def _answer(self, items: Sequence[_Item], pictures: int) -> _Answer:
        if self.version != __version__:
            text = f"{platform.node()} has Convwright {__version__}, not {self.version}; install the same version"
            raise ConvwrightError(text)
        job, predictor = self._opened()
        with quiet():
            read = list(prefetch(lambda item: _read(predictor, item), items, job.cores, len(items)))
        inaccessible = {
            item.path: text
            for item, found in zip(items, read, strict=True)
            if isinstance(found, ConvwrightError) and (text := _inaccessible(found))
        }
        batch = predict_batch(predictor, [item.name for item in items], read, job.top, job.coverage)
        shown = tuple(np.asarray(pixels) for pixels in batch.pixels[:pictures])
        return _Answer(Batch(batch.outcomes, shown), "", inaccessible, platform.node())

    def _opened(self) -> tuple[_Job, BasePredictor]:
        if self.job is None:
            import ray

            self.job = ray.get(self.reference[0])
            self.predictor = self.job.predictor.open(self.job.cores)
        return self.job, self.predictor


def _read(predictor: BasePredictor, item: _Item) -> Any:
    """Return the pixels of an image, or the error, with the name that the image has in results."""
    if not item.path:
        return predictor.convert(item.read) if isinstance(item.read, np.ndarray) else item.read
    try:
        return predictor.decode(item.path)
    except ConvwrightError as error:
        cause = error.__cause__
        text = (
            str(error) if not isinstance(cause, Exception) else f"cannot read {printable(item.name)}: {reason(cause)}"
        )
        renamed = ConvwrightError(text)
        renamed.__cause__ = cause
        return renamed


def _inaccessible(error: ConvwrightError) -> str:
    """Return the system's reason where a file is missing or may not be read; an empty text for damaged images."""
    cause = error.__cause__
    return (cause.strerror or "") if isinstance(cause, OSError) and cause.errno is not None else ""


class _Pipeline:
    """An actor that runs a pipeline of Ray Data and returns its results one by one.

    Args:
        rows: Batches: `number`, `items` and `pictures`.
        arguments: Arguments of each worker.
        workers: Number of workers.
        cores: Processor cores of each worker.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], arguments: Sequence[Any], workers: int, cores: int) -> None:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        data = ray.data.from_items(list(rows), override_num_blocks=min(len(rows), MOST_BLOCKS))
        worker: Any = _Worker
        mapped = data.map(
            worker,
            fn_constructor_args=arguments,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=cores,
            ray_remote_args_fn=lambda: {"max_task_retries": RETRIES},
        )
        self.results: Iterator[dict[str, Any]] = iter(mapped.iter_rows())

    def next(self) -> tuple[int, bytes] | None:
        """Return the number of the next batch and its answer; None after the last."""
        row = next(self.results, None)
        return None if row is None else (int(row["number"]), row["answer"])


class ClusterPredictions:
    """Predicts batches on a cluster.

    Args:
        predictor: The network, whose limits have been found if `coverage` is given.
        top: Classes to name for each image; None for sets of classes.
        coverage: Share of images whose prediction set contains the true class; None: there are no sets.
        options: The cluster.
    """

    def __init__(
        self, predictor: BasePredictor, top: int | None, coverage: float | None, options: ClusterOptions
    ) -> None:
        self.predictor, self.top, self.coverage, self.options = predictor, top, coverage, options

    def batches(self, images: Sequence[NamedImage], size: int) -> Generator[Batch, None, None]:
        """Yield the batches in the order of the images.

        Args:
            images: The images.
            size: Images of a batch.

        Raises:
            ArgumentError: A value in memory is no image.
            ConvwrightError: The network failed, workers died again and again, or a node cannot read the files.
        """
        rows = self._rows(images, size)
        connection = RayConnection(self.options.address, self.options.cores, PURPOSE)
        try:
            for answer in self._answers(connection, rows):
                if answer.failure:
                    raise ConvwrightError(answer.failure)
                _check_accessible(answer)
                assert answer.batch is not None
                yield answer.batch
        finally:
            connection.close()

    def _rows(self, images: Sequence[NamedImage], size: int) -> list[dict[str, Any]]:
        rows = []
        with quiet():
            for number, each in enumerate(slices(len(images), size)):
                items = [self._item(image) for image in images[each]]
                pictures = max(0, SHOWN - each.start)
                rows.append({"number": number, "items": pickle.dumps(items), "pictures": pictures})
        return rows

    def _item(self, image: NamedImage) -> _Item:
        if isinstance(image.image, str):
            return _Item(image.name, os.path.abspath(image.image))  # noqa: PTH100 - Path.absolute keeps `..`
        try:
            return _Item(image.name, read=np.asarray(self.predictor.decode(image.image)))
        except UsageError as error:
            raise ArgumentError("images", f"{image.name}: {error}") from None
        except ConvwrightError as error:
            return _Item(image.name, read=ConvwrightError(str(error)))

    def _answers(self, connection: RayConnection, rows: Sequence[dict[str, Any]]) -> Iterator[_Answer]:
        """Yield the answers in order; a pipeline whose actor has died is started again for the remaining batches."""
        ray, cores = connection.ray, self.options.cores
        job = ray.put(_Job(PortablePredictor.of(self.predictor), self.top, self.coverage, cores))
        arguments, done, failures = (__version__, [job]), 0, 0
        while done < len(rows):
            remaining = rows[done:]
            workers = min(connection.size, len(remaining))
            actor = ray.remote(num_cpus=0)(_Pipeline).remote(remaining, arguments, workers, cores)
            try:
                for number, answer in _results(ray, actor):
                    if number != done:
                        raise ConvwrightError(f"the cluster returned batch {number} instead of {done}; try again")
                    yield pickle.loads(answer)
                    done += 1
            except ray.exceptions.RayError as error:
                failures += 1
                if failures > RETRIES or not isinstance(error, ray.exceptions.RayActorError):
                    first = pickle.loads(rows[done]["items"])[0].name
                    raise ConvwrightError(
                        f"{printable(first)}: the cluster failed to predict its batch after {RETRIES} retries where a "
                        f"worker died: {last_line(error)}"
                    ) from None
            finally:
                ray.kill(actor)


def _results(ray: Any, actor: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the results of a pipeline; print a line now and then while none comes."""
    requested = deque(actor.next.remote() for _ in range(AHEAD))
    started = time.monotonic()
    while True:
        if not ray.wait([requested[0]], timeout=SILENT_SECONDS)[0]:
            from convwright.display.progress import print_progress  # here, since short work prints no line

            print_progress(
                f"no result from the cluster for {time.monotonic() - started:.0f} s; its workers may be busy"
            )
            continue
        result = ray.get(requested.popleft())
        if result is None:
            return
        yield result
        started = time.monotonic()
        requested.append(actor.next.remote())


def _check_accessible(answer: _Answer) -> None:
    """Check that files which a node could not read are not readable here.

    Raises:
        ConvwrightError: This machine can read one of them.
    """
    for path, why in (answer.inaccessible or {}).items():
        if os.access(path, os.R_OK):
            raise ConvwrightError(
                f"{printable(path)}: this machine can read it, and {answer.node} of the cluster cannot ({why}); put "
                "the images into a folder that all nodes have under the same path"
            )

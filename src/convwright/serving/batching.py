"""Dynamic batching: images of several requests are computed together, without changing any prediction.

Engines may add numbers in another order where they compute several images at once, which changes the last bits. A
batch therefore has a size only for which the engine gives each image exactly the logits that it gives the image alone;
`exact_sizes` finds them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from convwright.prediction.outcomes import Prediction

PROBE_SECONDS = 0.5
"""Time after which no further sizes are tried."""
PROBES = 2
"""Batches of random pixels that are compared for each size."""


@dataclass(frozen=True)
class Options:
    """What is requested for each image."""

    top: int | None = None
    """Classes to name; None for a multi-label network, or with `coverage`."""
    coverage: float | None = None
    """Share of images whose prediction set contains the true class; None: no sets."""


Rank = Callable[[Sequence[Any], Options], list[Prediction]]
"""Ranks the classes of images, as one batch."""


@dataclass
class _Job:
    pixels: Sequence[Any]
    options: Options
    future: "Future[list[Prediction]]" = field(default_factory=Future)


def exact_sizes(probabilities: Callable[[np.ndarray], np.ndarray], shape: Sequence[int], most: int) -> tuple[int, ...]:
    """Return the batch sizes, 1 and powers of 2, for which a network computes each image as it does alone.

    Args:
        probabilities: Returns N x classes for N images, uint8.
        shape: Shape of an image.
        most: Largest size to try.
    """
    random, sizes, end = np.random.default_rng(0), [1], time.monotonic() + PROBE_SECONDS
    size = 2
    while size <= most and time.monotonic() < end:
        for _ in range(PROBES):
            images = random.integers(0, 256, (size, *shape), dtype=np.uint8)
            alone = np.concatenate([probabilities(images[place : place + 1]) for place in range(size)])
            if not np.array_equal(probabilities(images), alone):
                return tuple(sizes)
        sizes.append(size)
        size *= 2
    return tuple(sizes)


class Batcher:
    """Computes the images of requests in a thread.

    Args:
        rank: Ranks the classes of images.
        sizes: Batch sizes that may be used, ascending, with 1.
        wait: Most seconds that an image waits for others.
        others: Returns whether other requests are about to bring images; without any, nothing waits.
        observe: Called with the size of each batch and its seconds.
    """

    def __init__(
        self,
        rank: Rank,
        sizes: Sequence[int],
        wait: float,
        others: Callable[[], bool],
        observe: Callable[[int, float], None],
    ) -> None:
        self.rank, self.sizes, self.wait, self.others, self.observe = rank, tuple(sizes), wait, others, observe
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="convwright-batches", daemon=True)
        self._thread.start()

    def submit(self, pixels: Sequence[Any], options: Options) -> "Future[list[Prediction]]":
        """Compute images; the result has the prediction of each."""
        job = _Job(pixels, options)
        self._queue.put(job)
        return job.future

    def close(self) -> None:
        """End the thread once everything that was submitted is computed."""
        self._queue.put(None)

    def _work(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._collected()
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            for options in dict.fromkeys(job.options for job in jobs):
                self._compute([job for job in jobs if job.options == options], options)

    def _collected(self) -> tuple[list[_Job], bool]:
        """Return requests to compute together, and whether the thread ends after them."""
        jobs: list[_Job] = []
        end, most = 0.0, self.sizes[-1]
        while sum(len(job.pixels) for job in jobs) < most:
            remaining = end - time.monotonic() if self.others() else 0.0
            try:
                job = self._queue.get(timeout=max(0.0, remaining)) if jobs else self._queue.get()
            except Empty:
                break
            if job is None:
                return jobs, True
            end = end if jobs else time.monotonic() + self.wait
            jobs.append(job)
        return jobs, False

    def _compute(self, jobs: Sequence[_Job], options: Options) -> None:
        try:
            ranked = iter(self._ranked([pixels for job in jobs for pixels in job.pixels], options))
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
            else:  # the images of one request must not fail the others
                for job in jobs:
                    self._compute([job], options)
            return
        for job in jobs:
            job.future.set_result([next(ranked) for _ in job.pixels])

    def _ranked(self, pixels: Sequence[Any], options: Options) -> Iterable[Prediction]:
        found: list[Prediction] = []
        while len(found) < len(pixels):
            remaining = len(pixels) - len(found)
            size = max(size for size in self.sizes if size <= remaining)
            started = time.perf_counter()
            found += self.rank(pixels[len(found) : len(found) + size], options)
            self.observe(size, time.perf_counter() - started)
        return found

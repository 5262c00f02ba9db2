"""The time of a design, which does not run while the design is interrupted."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from convwright import json_text
from convwright.errors import ConvwrightError
from convwright.files import write_text
from convwright.training.callbacks import Callback, Step, StopTraining

WRITE_SECONDS = 2.0
"""Seconds between two writes of the time that has passed."""
MIN_CLASSIFIER_SECONDS = 3.0
"""Seconds that a classifier is trained, at least, once the features of its images have been computed."""
TIMED_SHARE = 0.1
"""Share of the features from whose time that of all is estimated."""
EXIT_SHARE = 0.4
"""Seconds that a process takes to end, for each second that it took until its design began."""

_COUNTS_PROCESS: ContextVar[bool] = ContextVar("counts_process", default=False)


@contextmanager
def counting_process_time() -> Iterator[None]:
    """Count the start-up of this process and its estimated exit as design time in this block, as users do."""
    reset = _COUNTS_PROCESS.set(True)
    try:
        yield
    finally:
        _COUNTS_PROCESS.reset(reset)


def busy_seconds() -> float:
    """Return for how long this process has computed or waited for a processor.

    What it waited for otherwise, such as a download or the program that it replaced, does not count.
    """
    with suppress(OSError, ValueError):
        computed, waited, _ = (int(number) for number in Path("/proc/self/schedstat").read_text().split())
        if computed:
            return (computed + waited) / 1e9
    return time.process_time()


class Clock:
    """Counts the seconds of a design over all its sessions.

    Args:
        file: File in which the passed time is kept, so that a killed design continues with the time it has left.
        seconds: Time of the whole design.
        counts_process: Whether to include the time of the process inside `counting_process_time`.
    """

    def __init__(self, file: Path, seconds: float, *, counts_process: bool = False) -> None:
        now = time.monotonic()
        start_up = busy_seconds() if counts_process and _COUNTS_PROCESS.get() else 0.0
        self.file = file
        self.seconds = seconds - EXIT_SHARE * start_up
        self._before = _read(file)
        self._started = now - start_up
        self._written = now

    @property
    def passed(self) -> float:
        """Seconds that the design has run."""
        return self._before + time.monotonic() - self._started

    @property
    def recorded(self) -> float:
        """Seconds that earlier sessions took."""
        return self._before

    @property
    def left(self) -> float:
        """Seconds until the design should end; below 0 afterwards."""
        return self.seconds - self.passed

    def save(self, *, now: bool = True) -> float:
        """Write the passed time to the file, and return it.

        Args:
            now: Whether to write even if it has been written within the last seconds.
        """
        passed = round(self.passed, 2)
        if now or time.monotonic() - self._written >= WRITE_SECONDS:
            self._written = time.monotonic()
            write_text(self.file, json_text.dump({"seconds": passed}) + "\n")
        return passed


class FeaturesTooSlowError(ConvwrightError):
    """Computing the features of a frozen backbone would take more time than the whole training has."""


class TimeLimit(Callback):
    """Ends a training run at a time of the design, and keeps the design's clock written.

    Args:
        clock: The clock of the design.
        until: Passed seconds at which training ends, or a function that gives them during training.
        features_until: Passed seconds until which the features of a frozen backbone must be computed; None: `until`.
    """

    def __init__(self, clock: Clock, until: float | Callable[[], float], features_until: float | None = None) -> None:
        self.clock = clock
        self._until = until
        self._least = 0.0
        self.features_until = self.until if features_until is None else features_until
        self._created = clock.passed
        self._first: tuple[int, float] | None = None

    @property
    def until(self) -> float:
        """Passed seconds at which training ends, as known now."""
        return max(self._until() if callable(self._until) else self._until, self._least)

    def on_prepare(self, done: int, total: int, what: str) -> None:
        """Give the classifier some time where its features took longer than planned.

        Raises:
            FeaturesTooSlowError: They would take longer than `features_until`.
        """
        self.clock.save(now=False)
        if self._first is None:
            self._first = (done, self.clock.passed)
        before, began = self._first
        passed = self.clock.passed
        if passed > self.features_until and done < total:
            raise FeaturesTooSlowError(
                f"the frozen backbone's features of only {done:,} of {total:,} images were computed in "
                f"{passed - self._created:.0f} s"
            )
        if done - before >= TIMED_SHARE * total:
            end = began + (passed - began) * (total - before) / (done - before)
            if end > self.features_until:
                raise FeaturesTooSlowError(
                    f"computing the frozen backbone's features for all images would take {end - began:.0f} s; only "
                    f"{self.features_until - began:.0f} s are planned"
                )
        if done == total:
            self._least = self.clock.passed + MIN_CLASSIFIER_SECONDS

    def on_step(self, step: Step) -> None:
        """Stop if the time is over."""
        self.clock.save(now=False)
        if self.clock.passed >= self.until and step.number < step.steps:
            raise StopTraining

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Keep the clock written."""
        self.clock.save(now=False)


def _read(file: Path) -> float:
    with suppress(ConvwrightError, OSError):
        stored = json_text.read(file)
        seconds = stored.get("seconds") if isinstance(stored, dict) else None
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0:
            return float(seconds)
    return 0.0

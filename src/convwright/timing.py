"""Repeated timing of one call: the one home of every measurement of latency. No torch in here.

Other programs on the machine only add time, so a median that lies far above the minimum, calls that take longer than
the processor worked on them, and threads that wait for a core all mean that the machine was busy.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

WARM_UP = 3
"""Calls before the first one that is counted: caches, memory pools and clock rates settle."""
ROUNDS, MOST_ROUNDS = 3, 9
"""Undisturbed rounds that a reliable measurement needs, and rounds after which it is given up."""
AGREEMENT = 1.3
"""Largest factor between the median and the minimum, and between the time of a call and that of the processor."""
_GRAIN = 0.016 if os.name == "nt" else 1e-5
"""Resolution of the processor's time in seconds."""
_TASKS = Path("/proc/self/task")


def _waited() -> float:
    """Return how long threads of this process have waited for a core, in seconds; 0 where it is unknown."""
    total = 0
    with suppress(OSError):
        for thread in _TASKS.iterdir():
            with suppress(OSError, ValueError, IndexError):  # a thread may end meanwhile
                total += int((thread / "schedstat").read_text().split()[1])
    return total / 1e9


@dataclass(frozen=True)
class Clock:
    """The functions that time is read from, each in seconds."""

    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = time.process_time
    """Time that all threads of this process have computed."""
    waited: Callable[[], float] = _waited
    """Time that all threads of this process have waited for a core."""


CLOCK = Clock()


@dataclass(frozen=True)
class Timing:
    """Times of one call, and whether they can be relied on."""

    seconds: tuple[float, ...]
    """Seconds of each call, without those of disturbed rounds where there were enough others."""
    doubt: str = ""
    """Why the times cannot be relied on; empty where they can."""

    @property
    def reliable(self) -> bool:
        """Whether median, minimum and processor time agree within a factor of 1.3 in enough rounds."""
        return not self.doubt

    @property
    def median(self) -> float:
        """Median of the calls, in seconds."""
        return median(self.seconds)

    @property
    def minimum(self) -> float:
        """The fastest call, in seconds."""
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """How far the median lies above the minimum, as a share of the minimum."""
        return self.median / self.minimum - 1

    @property
    def estimate(self) -> float:
        """The time of a call on an idle machine: the median, or the minimum where the times cannot be relied on."""
        return self.median if self.reliable else self.minimum


@dataclass(frozen=True)
class _Round:
    seconds: tuple[float, ...]
    processor: float
    waited: float

    @property
    def total(self) -> float:
        return sum(self.seconds)

    def doubt(self, minimum: float) -> str:
        """Return what shows that the machine was busy; empty where nothing does."""
        middle = median(self.seconds)
        if middle > AGREEMENT * minimum:
            return f"the median of a call is {1e3 * middle:.3g} ms, the minimum {1e3 * minimum:.3g} ms"
        if self.total > AGREEMENT * (self.processor + _GRAIN):
            return f"the processor computed for only {self.processor / self.total:.0%} of the time"
        if self.waited > (AGREEMENT - 1) * self.total:
            return f"threads waited for a core for {self.waited / self.total:.0%} of the time"
        return ""


def measure_call(
    work: Callable[[], object],
    *,
    at_least: int = 2,
    at_most: int = 10,
    seconds: float = 0.25,
    warm_up: int = WARM_UP,
    clock: Clock = CLOCK,
) -> Timing:
    """Time a call in rounds, until enough of them were not disturbed by other programs.

    Args:
        work: The call.
        at_least: Fewest calls in a round.
        at_most: Most calls in a round.
        seconds: A round ends once its calls have taken this long together, within the two limits.
        warm_up: Calls made first, without being timed.
        clock: Where time is read from.

    Returns:
        The times; unreliable if rounds are still disturbed after `MOST_ROUNDS` of them.
    """
    rounds: list[_Round] = []
    calm: list[_Round] = []
    for _ in range(warm_up):
        work()
    while len(calm) < ROUNDS and len(rounds) < MOST_ROUNDS:
        processor, waited = clock.processor(), clock.waited()
        times = call_seconds(work, at_least=at_least, at_most=at_most, seconds=seconds, warm_up=0, clock=clock)
        rounds.append(_Round(tuple(times), clock.processor() - processor, max(0.0, clock.waited() - waited)))
        minimum = min(min(each.seconds) for each in rounds)
        calm = [each for each in rounds if not each.doubt(minimum)]
    if len(calm) >= ROUNDS:
        return Timing(_joined(calm))
    disturbed = sorted((each for each in rounds if each.doubt(minimum)), key=lambda each: median(each.seconds))
    return Timing(_joined(rounds), disturbed[0].doubt(minimum))


def _joined(rounds: Sequence[_Round]) -> tuple[float, ...]:
    return tuple(seconds for each in rounds for seconds in each.seconds)


def call_seconds(
    work: Callable[[], object],
    *,
    at_least: int = 1,
    at_most: int | None = None,
    seconds: float = 0.0,
    warm_up: int = WARM_UP,
    clock: Clock = CLOCK,
) -> list[float]:
    """Time a call several times.

    Args:
        work: The call.
        at_least: Fewest calls to time.
        at_most: Most calls to time; None: `at_least`.
        seconds: Timing ends once the timed calls have taken this long together, within the two limits.
        warm_up: Calls made first, without being timed.
        clock: Where time is read from.

    Returns:
        Seconds of each timed call, in order.
    """
    for _ in range(warm_up):
        work()
    times: list[float] = []
    while len(times) < at_least or (sum(times) < seconds and len(times) < (at_most or at_least)):
        started = clock.wall()
        work()
        times.append(clock.wall() - started)
    return times


def median_seconds(
    work: Callable[[], object],
    *,
    at_least: int = 1,
    at_most: int | None = None,
    seconds: float = 0.0,
    warm_up: int = WARM_UP,
) -> float:
    """Return the median of `call_seconds`."""
    return median(call_seconds(work, at_least=at_least, at_most=at_most, seconds=seconds, warm_up=warm_up))

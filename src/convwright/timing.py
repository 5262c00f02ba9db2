"""Repeated timing of one call: the one home of every measurement of latency. No torch in here."""

import time
from collections.abc import Callable
from statistics import median

WARM_UP = 3
"""Calls before the first one that is counted: caches, memory pools and clock rates settle."""


def call_seconds(
    work: Callable[[], object],
    *,
    at_least: int = 1,
    at_most: int | None = None,
    seconds: float = 0.0,
    warm_up: int = WARM_UP,
) -> list[float]:
    """Time a call several times.

    Args:
        work: The call.
        at_least: Fewest calls to time.
        at_most: Most calls to time; None: `at_least`.
        seconds: Timing ends once the timed calls have taken this long together, within the two limits.
        warm_up: Calls made first, without being timed.

    Returns:
        Seconds of each timed call, in order.
    """
    for _ in range(warm_up):
        work()
    times: list[float] = []
    while len(times) < at_least or (sum(times) < seconds and len(times) < (at_most or at_least)):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
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

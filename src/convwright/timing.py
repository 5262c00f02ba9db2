"""How long one run takes. No torch in here."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

WARM_UP = 3


def seconds_of(run: Callable[[np.ndarray], Any], images: np.ndarray, runs: int) -> list[float]:
    """Return the time of each of so many runs, after a few that are not counted."""
    for _ in range(WARM_UP):
        run(images)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - started)
    return times


def median_seconds(run: Callable[[np.ndarray], Any], images: np.ndarray, runs: int) -> float:
    """Return the median time of a run."""
    return median(seconds_of(run, images, runs))

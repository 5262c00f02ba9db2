"""How many threads a design computes with: one, where other programs keep the machine so busy that it is faster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

MEASUREMENTS = 3
"""Measurements of each number of threads, in turns, of which the fastest counts."""
FASTER_FACTOR = 1.3
"""Factor by which one thread must be faster than all, so that one is chosen."""


@contextmanager
def fastest_threads(measure: Callable[[], float]) -> Iterator[int]:
    """Compute with one thread instead of all where that is clearly faster.

    Threads of one operation wait for each other. Where other programs take turns with them, this makes several threads
    many times as slow as one.

    Args:
        measure: Returns the seconds of some work.

    Yields:
        The number of threads inside.
    """
    usual = torch.get_num_threads()
    try:
        if usual > 1:
            seconds: dict[int, float] = {}
            for _ in range(MEASUREMENTS):
                for count in (usual, 1):
                    torch.set_num_threads(count)
                    seconds[count] = min(measure(), seconds.get(count, float("inf")))
            torch.set_num_threads(1 if FASTER_FACTOR * seconds[1] < seconds[usual] else usual)
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(usual)

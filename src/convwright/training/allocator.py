"""What becomes of memory that a training step frees: kept for the next step, or given back at once.

By default glibc decides block by block. It gives large blocks back to the system, which hands them out again page by
page, each cleared first: on a CPU that takes longer than much of what is computed in them. Smaller ones it keeps, and
the holes between them: of what it holds, half may be free. Neither setting changes what is computed.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from convwright.machine import c_function

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # malloc.h
LARGE = 16 * 2**20
"""Bytes from which on a block is given back."""
DEFAULTS = {MMAP_MAX: 65536, TRIM_THRESHOLD: 2 * LARGE, MMAP_THRESHOLD: LARGE}
"""Settings after training, where the process had made none: close to where glibc's own moving limits end up."""

_current: dict[int, int] = {}


def keep_freed_memory() -> None:
    """Keep what is freed, where the C library is glibc."""
    _set({MMAP_MAX: 0, TRIM_THRESHOLD: -1})


def return_freed_memory() -> None:
    """Give large blocks back at once, where the C library is glibc."""
    _set({MMAP_MAX: DEFAULTS[MMAP_MAX], TRIM_THRESHOLD: 2 * LARGE, MMAP_THRESHOLD: LARGE})


def settings() -> dict[int, int]:
    """Return the settings that this module has made so far in the process; glibc does not report its own."""
    return dict(_current)


def restore(before: dict[int, int]) -> None:
    """Go back to earlier settings.

    Args:
        before: What `settings` returned.
    """
    changed = {
        option: before.get(option, DEFAULTS[option]) for option in _current if before.get(option) != _current[option]
    }
    _set(changed)
    for option in _current.keys() - before.keys():
        del _current[option]


def freed_memory() -> int:
    """Return the bytes that are free, but kept by the C library; 0 where it is not glibc 2.33 or later."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo.restype = _MallInfo
    return int(mallinfo().fordblks)


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library keep what is freed inside: for networks at inference, giving it back takes half of the time."""
    before = settings()
    keep_freed_memory()
    try:
        yield
    finally:
        restore(before)


def _set(values: dict[int, int]) -> None:
    mallopt = c_function("mallopt") if sys.platform.startswith("linux") else None
    for option, value in values.items():
        if mallopt is not None:
            mallopt(option, value)
            _current[option] = value

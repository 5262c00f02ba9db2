"""What becomes of memory that a training step frees: kept for the next, or given back at once.

By default glibc decides block by block. It gives large blocks back to the system, which hands them out again page by
page, each cleared first: on a CPU that takes longer than much of what is computed in them. Smaller ones it keeps, and
the holes between them: of what it holds, half may be free. Neither changes what is computed.
"""

import ctypes
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # malloc.h
LARGE = 16 * 2**20
"""Bytes from which on a block is given back."""
USUAL_MMAPS = 65536


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, as far as it is the C library."""
    _set(MMAP_MAX, 0)
    _set(TRIM_THRESHOLD, -1)


def return_freed_memory() -> None:
    """Have glibc give large blocks back at once, as far as it is the C library."""
    _set(MMAP_MAX, USUAL_MMAPS)
    _set(TRIM_THRESHOLD, 2 * LARGE)  # as glibc does when it moves its own limits
    _set(MMAP_THRESHOLD, LARGE)


def _set(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(option, value)

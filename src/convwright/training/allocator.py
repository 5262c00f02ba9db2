"""Memory that one training step frees is kept for the next."""

import ctypes
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, as far as it is the C library; it does not change what is computed.

    By default large blocks go back to the system at once, which hands them out again page by page, each cleared first:
    on a CPU that takes longer than much of what is computed in them.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)

"""What operating systems differ in: processor cores, functions of the C library, and the user's number."""

import os
from collections.abc import Callable, Iterable
from functools import cache


def available_cores() -> list[int]:
    """Return the numbers of the processor cores that this process may use; at least one."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    count = getattr(os, "process_cpu_count", os.cpu_count)()
    return list(range(count or 1))


def set_affinity(cores: Iterable[int]) -> bool:
    """Run this process and its future children on some processor cores only.

    Args:
        cores: Numbers of the cores.

    Returns:
        Whether the system could do it; macOS and Windows have no such call.

    Raises:
        OSError: The process may not use one of the cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, cores)
    return True


@cache
def c_function(name: str) -> Callable[..., int] | None:
    """Return a function of the C library, such as `mallopt` or `prctl`; None where there is no such function.

    Args:
        name: Name of the function; it must return an int, and its arguments must be integers.
    """
    import ctypes

    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # musl and macOS lack functions of glibc, Windows refuses None
        return None
    return function


def user_id() -> int | None:
    """Return the number of the user; None on Windows, where users have none."""
    return os.getuid() if hasattr(os, "getuid") else None


def peak_memory() -> int | None:
    """Return the most main memory that this process has used so far, in bytes; None where it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS reports bytes, others KiB

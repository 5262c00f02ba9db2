"""What operating systems differ in: processor cores, functions of the C library, signals, and the user's number."""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def preserved_signal_stack() -> Iterator[None]:
    """Keep the memory that this thread handles signals in.

    OpenVINO replaces it by memory of its own, which it may free while the replacement still holds. The next signal,
    such as that of Ctrl-C, would then end the process at once and without a message.
    """
    sigaltstack = c_function("sigaltstack") if sys.platform.startswith("linux") else None
    if sigaltstack is None:
        yield
        return
    import ctypes

    class Stack(ctypes.Structure):
        _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    before = Stack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)


_silence = threading.Lock()
_kept: list[int] = []
"""Standard error, once for each caller that hides it; the first one is the process's own."""


@contextmanager
def silenced_native_errors() -> Iterator[None]:
    """Hide what libraries in C++ write to standard error, for a short time; errors that they raise are not affected."""
    with _silence:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (AttributeError, OSError, ValueError):  # the process has no standard error
            kept = -1
        if kept >= 0:
            if not _kept:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)
            _kept.append(kept)
    try:
        yield
    finally:
        with _silence:
            if kept >= 0:
                last = _kept.pop()  # that of another caller hides as much
                if not _kept:
                    os.dup2(last, 2)
                os.close(last)


def user_id() -> int | None:
    """Return the number of the user; None on Windows, where users have none."""
    return os.getuid() if hasattr(os, "getuid") else None


def peak_memory() -> int | None:
    """Return the most main memory that this process has used so far, in bytes; None where it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS reports bytes, others KiB

"""Limits of Linux that stand for a full disk."""

import resource
import signal
from contextlib import contextmanager


@contextmanager
def files_up_to(size):
    """Let no file of this process grow beyond a size, which stands for a full disk."""
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

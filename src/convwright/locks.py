"""Exclusive locks between processes, on Linux, macOS and Windows and on network file systems.

The operating system releases a lock when its process ends, also after a kill, so a lock is never stale.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.errors import ConvwrightError, warn

if TYPE_CHECKING:
    from filelock import BaseFileLock

UNSUPPORTED = frozenset(
    number
    for name in ("ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK")
    if (number := getattr(errno, name, None)) is not None
)
"""Errors of file systems without locks."""


class LockHeldError(ConvwrightError):
    """A lock that another process, or another thread of this process, holds."""


@contextmanager
def locked(
    path: Path, *, wait: bool = True, waiting: Callable[[], object] | None = None, required: bool = True
) -> Iterator[None]:
    """Hold an exclusive lock while the block runs.

    Args:
        path: The lock file. It is made if it does not exist, and stays; its content has no meaning.
        wait: Whether to wait for a lock that is held, instead of raising `LockHeldError`.
        waiting: Function to call once, before waiting for a lock that is held.
        required: Whether a file system without locks is an error. If not, the block runs unlocked, with a warning.

    Raises:
        LockHeldError: The lock is held, and `wait` is false.
        OSError: The lock file cannot be made, or its file system has no locks and `required` is true.
    """
    from filelock import FileLock

    if not path.parent.is_dir():  # filelock would make it
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
    lock = FileLock(path, thread_local=False)
    if not _acquire(lock, path, 0, required=required):
        if not wait:
            raise LockHeldError(f"{path}: locked by another process")
        if waiting is not None:
            waiting()
        _acquire(lock, path, -1, required=required)
    try:
        yield
    finally:
        with suppress(OSError):  # the folder of the lock file was removed meanwhile
            lock.release(force=True)


def _acquire(lock: "BaseFileLock", path: Path, timeout: float, *, required: bool) -> bool:
    """Return whether a lock was acquired within a time in seconds; -1 has no limit."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    except (NotImplementedError, OSError) as error:
        supported = isinstance(error, OSError) and error.errno not in UNSUPPORTED
        if supported or required:
            raise _as_system_error(error, path) from None
        warn(f"{path.parent}: the file system has no locks; do not use this folder from two processes at once")
    return True


def _as_system_error(error: NotImplementedError | OSError, path: Path) -> OSError:
    if isinstance(error, OSError):
        return error
    return OSError(errno.ENOSYS, "the file system has no locks", str(path))

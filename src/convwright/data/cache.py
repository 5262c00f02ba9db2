"""A folder of decoded images that all runs share, that no crash spoils and that outgrows no limit."""

import fcntl
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from convwright.errors import UsageError
from convwright.files import cache_folder

LIMIT_VARIABLE = "CONVWRIGHT_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0
GB = 10**9


class CacheFullError(OSError):
    """The limit leaves no room for what would be kept."""


@dataclass(frozen=True)
class Cache:
    """Data sets, each in a folder of its own (a *unit*). The least recently used ones go when room is needed.

    A unit is used under its lock. Its files may be deleted while another process has them mapped: the mapping
    keeps them alive.
    """

    folder: Path
    limit: int
    """Bytes, of all units together."""

    @classmethod
    def open(cls, limit_gb: float | None = None) -> "Cache | None":
        """Return the user's cache; None if its limit is 0. Without a limit the environment's holds."""
        limit = limit_from(os.environ.get(LIMIT_VARIABLE)) if limit_gb is None else limit_gb
        if not (math.isfinite(limit) and limit >= 0):
            raise UsageError(f"the cache's limit must be a number of gigabytes, 0 or more, not {limit:g}")
        return cls(cache_folder() / "decoded", int(limit * GB)) if limit else None

    @contextmanager
    def unit(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[Path]:
        """Give a unit's folder, locked; ``waiting`` is called first if another process has it."""
        path = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        with _lock_of(path) as file:
            if not _try(file):
                if waiting is not None:
                    waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            path.mkdir(exist_ok=True)
            os.utime(path)  # it is used now
            try:
                yield path
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a forked child may hold the file open for longer

    def reserve(self, own: Path, extra: int, claim: Callable[[], object]) -> None:
        """Call ``claim``, which takes ``extra`` bytes for the unit ``own``, once they are within the limit."""
        with self.folder.joinpath("room.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # or two processes would claim the same room
            sizes = {unit: _size(unit) for unit in self.folder.iterdir() if unit.is_dir()}
            if sizes.get(own, 0) + extra > self.limit:
                raise CacheFullError(
                    f"would take {_gb(sizes.get(own, 0) + extra)} and may take {_gb(self.limit)} ({LIMIT_VARIABLE})"
                )
            total = sum(sizes.values()) + extra
            for unit in sorted(sizes.keys() - {own}, key=_last_use):
                if total <= self.limit:
                    break
                if _drop(unit):
                    total -= sizes[unit]
            if total > self.limit:
                raise CacheFullError("is being filled by other processes")
            claim()


def limit_from(text: str | None) -> float:
    """Read the limit that the environment sets, in GB."""
    if not text:
        return DEFAULT_LIMIT_GB
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{LIMIT_VARIABLE} must be a number of gigabytes, not {text!r}") from None


def _gb(size: float) -> str:
    return f"{size / GB:.3g} GB"


def _lock_of(unit: Path) -> IO[bytes]:
    # Beside the unit, and never deleted: whoever waits for a lock must not end up with one that is gone.
    return unit.with_name(f"{unit.name}.lock").open("ab")


def _try(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop(unit: Path) -> bool:
    """Delete a unit, unless a process is at work in it."""
    with _lock_of(unit) as file:
        if not _try(file):
            return False
        shutil.rmtree(unit, ignore_errors=True)
        return not unit.exists()


def _last_use(unit: Path) -> float:
    try:
        return unit.stat().st_mtime
    except OSError:
        return 0.0


def _size(unit: Path) -> int:
    total = 0
    for file in unit.iterdir():
        with suppress(FileNotFoundError):  # another process may just drop it
            total += file.stat().st_size
    return total

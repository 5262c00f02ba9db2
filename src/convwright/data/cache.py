"""A cache of decoded images that all runs share, which has a size limit and survives crashes."""

import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from convwright.errors import UsageError
from convwright.files import cache_folder
from convwright.locks import LockHeldError, locked

LIMIT_VARIABLE = "CONVWRIGHT_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0
GB = 10**9


class CacheFullError(OSError):
    """The limit of the cache leaves no room for more data."""


@dataclass(frozen=True)
class Cache:
    """Data sets, each in a folder of its own, a *unit*. The least recently used units are deleted for lack of room.

    A unit is used under its lock. On Linux and macOS a unit's files may be deleted while another process has them
    mapped: the mapping keeps them alive. Windows refuses to delete such files, and the unit stays.
    """

    folder: Path
    limit: int
    """Bytes, of all units together."""

    @classmethod
    def open(cls, limit_gb: float | None = None) -> "Cache | None":
        """Return the user's cache.

        Args:
            limit_gb: Limit in gigabytes; by default that of the environment variable `CONVWRIGHT_CACHE_GB`, or 20.

        Returns:
            The cache, or None if its limit is 0.

        Raises:
            UsageError: The limit is not a number of 0 or more.
        """
        limit = limit_from(os.environ.get(LIMIT_VARIABLE)) if limit_gb is None else limit_gb
        if not (math.isfinite(limit) and limit >= 0):
            raise UsageError(f"the cache's limit must be a number of gigabytes, 0 or more, not {limit:g}")
        return cls(cache_folder() / "decoded", int(limit * GB)) if limit else None

    @contextmanager
    def unit(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[Path]:
        """Yield the folder of a unit, locked.

        Args:
            name: Name of the unit.
            waiting: Function to call before waiting for another process that uses the unit.
        """
        path = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(_lock_file(path), waiting=waiting):
            path.mkdir(exist_ok=True)
            os.utime(path)  # the time of its last use
            yield path

    def reserve(self, own: Path, extra: int, claim: Callable[[], object]) -> None:
        """Make room for more data of a unit, and claim the room.

        Args:
            own: Folder of the unit.
            extra: Bytes that the unit grows by.
            claim: Function that makes the unit grow; it is called once the growth is within the limit.

        Raises:
            CacheFullError: The unit would be larger than the limit, or other processes use all other units.
        """
        with locked(self.folder / "room.lock"):  # else two processes would claim the same room
            sizes = {unit: _size(unit) for unit in self.folder.iterdir() if unit.is_dir()}
            if sizes.get(own, 0) + extra > self.limit:
                raise CacheFullError(
                    f"would take {_gb(sizes.get(own, 0) + extra)} and may take {_gb(self.limit)} (`cache_gb`)"
                )
            total = sum(sizes.values()) + extra
            for unit in sorted(sizes.keys() - {own}, key=_last_use):
                if total <= self.limit:
                    break
                if _delete(unit):
                    total -= sizes[unit]
            if total > self.limit:
                raise CacheFullError("is being filled by other processes")
            claim()


def limit_from(text: str | None) -> float:
    """Return the limit in GB that the environment variable sets. UsageError if it is not a number."""
    if not text:
        return DEFAULT_LIMIT_GB
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{LIMIT_VARIABLE} must be a number of gigabytes, not {text!r}") from None


def _gb(size: float) -> str:
    return f"{size / GB:.3g} GB"


def _lock_file(unit: Path) -> Path:
    """Return the lock file of a unit: beside the unit, because the unit may be deleted by a process that locked it."""
    return unit.with_name(f"{unit.name}.lock")


def _delete(unit: Path) -> bool:
    """Delete a unit, unless another process uses it; return whether it was deleted."""
    try:
        with locked(_lock_file(unit), wait=False):
            shutil.rmtree(unit, ignore_errors=True)
            return not unit.exists()
    except LockHeldError:
        return False


def _last_use(unit: Path) -> float:
    try:
        return unit.stat().st_mtime
    except OSError:
        return 0.0


def _size(unit: Path) -> int:
    total = 0
    for file in unit.iterdir():
        with suppress(FileNotFoundError):  # another process may be deleting it
            total += file.stat().st_size
    return total

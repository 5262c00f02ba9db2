"""What was found out about files, kept on disk from run to run, and believed only while a file is as it was."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

Stamp = tuple[int, ...]


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does; OSError if there is none.

    A program can set the modification time back, but not the time of the inode's change; the inode's number tells
    a link that now leads elsewhere.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class Journal:
    """Values by file name: a text file of one JSON line each, of which the last line for a name holds.

    Lines are only ever appended. So a process that is killed leaves at worst half a line at the end, which is
    passed over, and whatever it had saved before stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[Stamp, Any]] = {name: (tuple(stamp), value) for name, stamp, value in _read(path)}
        self._unsaved: list[str] = []

    def recall(self, name: str, stamp: Stamp) -> Any | None:
        """Return what was noted of a file, or None if it has changed since."""
        known, value = self._known.get(name, (None, None))
        return value if known == stamp else None

    def values(self) -> Iterator[Any]:
        """Yield what is noted of all files, changed or not."""
        return (value for _, value in self._known.values())

    def note(self, name: str, stamp: Stamp, value: Any) -> None:
        """Keep a value; on disk once it is saved."""
        self._known[name] = stamp, value
        self._unsaved.append(json.dumps([name, stamp, value], separators=(",", ":")))

    def save(self) -> None:
        """Bring all that was noted to the disk."""
        if not self._unsaved:
            return
        lines = "\n".join(["", *self._unsaved, ""])  # first an end for a line that another process left torn
        with self.path.open("ab") as file:
            file.write(lines.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        self._unsaved.clear()

    def clear(self) -> None:
        """Forget all, on disk too."""
        self._known.clear()
        self._unsaved.clear()
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[tuple[str, list[int], Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        with suppress(ValueError, RecursionError):  # torn, or damaged
            match json.loads(line) if line else None:
                case [str(name), list(stamp), value]:
                    yield name, stamp, value

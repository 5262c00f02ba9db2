"""Values computed from files, stored on disk and valid while a file is unchanged."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

Stamp = tuple[int, ...]


def stamp_of(path: Path) -> Stamp:
    """Return size, times and inode of a file, which change when the file does.

    A program can set the modification time back, but not the time of the inode's change; the inode's number
    changes when a link leads elsewhere.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class Journal:
    """Values by file name: a text file with one JSON line for each value, of which a name's last line is valid.

    Lines are only appended. A process that is killed leaves at most half a line at the end, which readers skip, and
    all that it had saved before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[Stamp, Any]] = {name: (tuple(stamp), value) for name, stamp, value in _read(path)}
        self._unsaved: list[str] = []

    def get(self, name: str, stamp: Stamp) -> Any | None:
        """Return the value of a file; None if the file has none or has changed since."""
        known, value = self._known.get(name, (None, None))
        return value if known == stamp else None

    def values(self) -> Iterator[Any]:
        """Yield the values of all files, changed or not."""
        return (value for _, value in self._known.values())

    def put(self, name: str, stamp: Stamp, value: Any) -> None:
        """Set the value of a file; `save` writes it to the disk."""
        self._known[name] = stamp, value
        self._unsaved.append(json.dumps([name, stamp, value], separators=(",", ":")))

    def save(self) -> None:
        """Write all new values to the disk."""
        if not self._unsaved:
            return
        lines = "\n".join(
            ["", *self._unsaved, ""]
        )  # the first line break ends a line that a killed process left incomplete
        with self.path.open("ab") as file:
            file.write(lines.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        self._unsaved.clear()

    def clear(self) -> None:
        """Delete all values, on disk too."""
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

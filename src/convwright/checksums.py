"""Checksums of a folder's files, in a file `checksums.json` beside them, so that damage is noticed when they are read.

The new checksum of a file is recorded before the file is replaced, and the previous one is kept until the next write:
after a kill at any moment, the file matches one of the two.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from convwright import json_text
from convwright.errors import RunError
from convwright.files import digest, digest_of, write_bytes, write_text

NAME = "checksums.json"
VERSION = 1
KEPT = 2
"""Number of checksums that are accepted for a file: of its new content, and of the previous one."""

Content = TypeVar("Content")


class Checksums:
    """The checksums of the files of one folder. One process at a time may write; any number may read meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    @property
    def recorded(self) -> bool:
        """Whether the folder has checksums; runs of earlier versions have none."""
        return self.path.is_file()

    def record(self, digests: Mapping[str, str]) -> None:
        """Record the checksums of files that are about to be written.

        Args:
            digests: Checksum by the file's path within the folder, with `/` as separator.
        """
        before = self._read() if self.recorded else {}
        kept = {name: known for name, known in before.items() if name in digests or (self.folder / name).is_file()}
        for name, new in digests.items():
            kept[name] = (new, *[old for old in before.get(name, ()) if old != new])[:KEPT]
        write_text(self.path, _format(kept))

    def record_existing(self) -> None:
        """Record the files of a folder that has no checksums yet, as they are now."""
        if not self.recorded:
            files = [path for path in self.folder.rglob("*") if path.is_file()]
            self.record({path.relative_to(self.folder).as_posix(): digest(path) for path in files})

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file of the folder atomically, and its checksum."""
        self.record({name: digest_of(content)})
        write_bytes(self.folder / name, content)

    def read(self, name: str) -> bytes:
        """Return the content of a file, if it is the one that was written.

        Raises:
            RunError: The file is damaged, edited, cannot be read, or is not listed in `checksums.json`.
        """
        return self._checked(name, Path.read_bytes, digest_of)

    def verified(self, name: str) -> Path:
        """Return the path of a file that is too large for `read`, after the same check."""
        self._checked(name, digest, str)
        return self.folder / name

    def intact(self, name: str) -> bool:
        """Return whether a file is the one that was written."""
        try:
            self.verified(name)
        except RunError:
            return False
        return True

    def _checked(self, name: str, read: Callable[[Path], Content], digest_of: Callable[[Content], str]) -> Content:
        path = self.folder / name
        if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
            raise RunError(f"{path}: not a regular file")
        before = ""
        while True:
            try:
                content = read(path)
            except OSError as error:
                raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
            found = digest_of(content)
            if self._accepts(name, found):
                return content
            if found == before:  # else another process has replaced the file since its checksum was read
                raise self._damaged(path)
            before = found

    def _accepts(self, name: str, found: str) -> bool:
        return not self.recorded or found in self._read().get(name, ())

    def _damaged(self, path: Path) -> RunError:
        if path.relative_to(self.folder).as_posix() not in self._read():
            return RunError(
                f"{path}: is not listed in {NAME}, so it was not written with the other files; remove it, or delete "
                f"{self.path} to use the folder without checks"
            )
        return RunError(
            f"{path}: its checksum is wrong, so it is damaged or was edited; restore it from a copy, or delete "
            f"{self.path} to use the folder without checks"
        )

    def _read(self) -> dict[str, tuple[str, ...]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:  # removed by the user meanwhile
            return {}
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        known = _files(json_text.parse(content, self.path, RunError))
        if known is None or _format(known).encode() != content:
            raise RunError(f"{self.path}: damaged or edited; restore it, or delete it to use the folder without checks")
        return known


def verify(path: Path) -> None:
    """Check a file against the checksums of its folder, if the folder has any and they name the file.

    Raises:
        RunError: The file is damaged or was edited.
    """
    checksums = Checksums(path.parent)
    if checksums.recorded and path.name in checksums._read():
        checksums.verified(path.name)


def _format(files: Mapping[str, tuple[str, ...]]) -> str:
    listed = {name: list(known) for name, known in sorted(files.items())}
    own = digest_of(json_text.dump(listed).encode("utf-8", "backslashreplace"))
    return json_text.dump({"version": VERSION, "files": listed, "checksum": own}, indent=1) + "\n"


def _files(stored: object) -> dict[str, tuple[str, ...]] | None:
    """Return the checksums that a parsed file holds, or None if it holds something else."""
    files = stored.get("files") if isinstance(stored, dict) else None
    if not isinstance(files, dict):
        return None
    for known in files.values():
        if not isinstance(known, list) or not all(isinstance(one, str) for one in known):
            return None
    return {name: tuple(known) for name, known in files.items()}

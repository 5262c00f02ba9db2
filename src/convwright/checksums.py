"""Checksums of a folder's files, in a file `checksums.json` beside them, so that damage is noticed when they are read.

The new checksum of a file is recorded beside the current one before the file is replaced, and alone afterwards. After a
kill or a full disk at any moment, the file matches a recorded checksum.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from convwright import json_text
from convwright.errors import RunError
from convwright.files import digest, digest_of, write_bytes, write_text

NAME = "checksums.json"
VERSION = 1
RUN_FILES = ("config.yaml", "network.json")
"""Files by which `verify` recognises a run: other programs also call a file `checksums.json`."""
OWN_FILES = frozenset(
    (
        *(NAME, *RUN_FILES, "classes.json", "data.json", "thresholds.json", "metrics.csv", "summary.json"),
        *("model.safetensors", "initial.safetensors", "teacher.safetensors", "training_images.safetensors"),
        *("lr_finder.csv", "mlflow.txt", "advice.json"),
    )
)
OWN_FOLDERS = frozenset(("checkpoints", "picked"))
"""Files and folders of a run, which no command may replace by something else."""
EXISTING = ("*", "checkpoints/*.pt")
"""Patterns of the files that are recorded in a run of an earlier version."""

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
        """Record the checksums of files that are about to be written, beside those of their current content.

        Args:
            digests: Checksum by the file's path within the folder, with `/` as separator.

        Raises:
            RunError: `checksums.json` is damaged.
            ConvwrightError: It could not be written.
        """
        before = self._read() if self.recorded else self._existing()
        kept = {name: known for name, known in before.items() if name in digests or (self.folder / name).is_file()}
        for name, new in digests.items():
            kept[name] = tuple(dict.fromkeys((new, *self._current(name, before.get(name, ())))))
        write_text(self.path, _format(kept))

    def record_existing(self) -> None:
        """Record the files of a folder that has no checksums yet, as they are now."""
        if not self.recorded:
            self.record({})

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file of the folder atomically, and its checksum.

        Args:
            name: The file's path within the folder, with `/` as separator.
            content: What to write.

        Raises:
            ConvwrightError: The file or its checksum could not be written; the file stays as it was.
        """
        new = digest_of(content)
        self.record({name: new})
        write_bytes(self.folder / name, content)
        write_text(self.path, _format(self._read() | {name: (new,)}))

    def _current(self, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return the checksum of a file's current content; of several, that of an interrupted write is dropped."""
        if len(known) < 2:
            return known
        with suppress(OSError):
            found = digest(self.folder / name)
            return (found,) if found in known else ()
        return ()

    def _existing(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for path in sorted(path for pattern in EXISTING for path in self.folder.glob(pattern)):
            if not path.name.startswith(".") and path.is_file():
                with suppress(OSError):  # of a file that another program removes meanwhile
                    found[path.relative_to(self.folder).as_posix()] = (digest(path),)
        return found

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

    def lists(self, name: str) -> bool:
        """Return whether a file has a checksum."""
        return self.recorded and name in self._read()

    def verify_listed(self, name: str) -> None:
        """Check a file that may be one of others, which are not listed. RunError if it is listed and damaged."""
        if self.lists(name):
            self.verified(name)

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
                f"{path}: is not listed in {NAME}, so it does not belong to this run; restore the run from a copy, or "
                f"delete {self.path} to use it without checks"
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
        stored = json_text.parse(content, self.path, RunError)
        known = _files(stored)
        if isinstance(stored, dict) and type(version := stored.get("version")) is int and version > VERSION:
            raise RunError(f"{self.path}: version {version} of the format, written by a later Convwright; update it")
        if known is None or _format(known).encode("utf-8", "backslashreplace") != content:
            raise RunError(f"{self.path}: damaged or edited; restore it, or delete it to use the folder without checks")
        return known


def belongs_to_run(path: Path) -> bool:
    """Return whether a path is that of a file that a run directory consists of."""
    if path.parent.name in OWN_FOLDERS and _is_run(path.parent.parent):
        return True
    return path.name in OWN_FILES and _is_run(path.parent)


def _is_run(folder: Path) -> bool:
    return all((folder / name).is_file() for name in RUN_FILES)


def verify(path: Path) -> None:
    """Check a file against the checksums of its folder, if that is a run and its checksums list the file.

    Args:
        path: A file, in a run directory or elsewhere.

    Raises:
        RunError: The file is damaged or was edited.
    """
    checksums = Checksums(path.parent)
    if checksums.recorded and _is_run(path.parent):
        checksums.verify_listed(path.name)


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

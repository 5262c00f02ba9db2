"""The boundary of the studio: which files it may read, after all links are followed."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convwright.errors import UsageError
from convwright.printable import printable


@dataclass(frozen=True)
class Boundary:
    """Places whose files the studio may read.

    Args:
        root: The studio's folder, absolute and without symbolic links.
        allowed: Further folders, likewise.
    """

    root: Path
    allowed: tuple[Path, ...] = ()

    def contains(self, path: Path) -> bool:
        """Return whether a path leads into one of the places once its links are followed."""
        try:
            found = path.resolve()
        except (OSError, RuntimeError, ValueError):  # a circle of links; no path at all
            return False
        return any(found.is_relative_to(place) for place in (self.root, *self.allowed))

    def check(self, path: Path, name: str, what: str = "it is") -> None:
        """Check a file or a folder, with everything below it.

        Args:
            path: The file or the folder.
            name: What messages call it.
            what: Beginning of the message about its place.

        Raises:
            UsageError: It is outside, or a link in it leads outside.
        """
        if not self.contains(path):
            raise UsageError(_message(name, f"{what} at", path))
        if link := self._link_outside(path):
            raise UsageError(_message(name, f"the link {printable(link.relative_to(path))} leads to", link))

    def check_files(self, paths: Iterable[Path], name: str) -> None:
        """Check files, of which there may be millions.

        Raises:
            UsageError: One of them is outside.
        """
        inside: dict[str, bool] = {}
        for path in paths:
            folder = os.path.dirname(path)  # noqa: PTH120 - much faster
            if folder not in inside:
                inside[folder] = self.contains(Path(folder))
            if not inside[folder] or (os.path.islink(path) and not self.contains(path)):  # noqa: PTH114
                raise UsageError(_message(name, "one of its images is at", path))

    def check_data(self, spec: str, columns: Mapping[str, str | None], name: str) -> None:
        """Check the images that a run or a design was trained on.

        Args:
            spec: A source, a folder, a list, or tar files; relative to the studio's folder.
            columns: Columns of a list.
            name: What messages call the run.

        Raises:
            UsageError: An image is outside.
            DataError: The images cannot be found.
        """
        from convwright.data import SOURCES
        from convwright.data.arrays import PREFIX
        from convwright.data.collections import JOINED
        from convwright.data.hugging_face import PREFIX as BY_NAME
        from convwright.data.hugging_face import is_hugging_face
        from convwright.data.shard_paths import names_shards, shard_paths

        if spec in SOURCES or spec.startswith(PREFIX):  # images of packages, or of memory
            return
        parts = [self.root / Path(part).expanduser() for part in spec.split(JOINED)]
        full = JOINED.join(map(str, parts))
        if spec.startswith(BY_NAME):
            raise UsageError(
                f"{name}: its images are a data set of Hugging Face that is named, not stored in the studio's folder; "
                "write it there with `save_to_disk`"
            )
        for part in parts:
            self.check(part, name, "its images are")
        if is_hugging_face(full):
            self._check_hugging_face(parts[0], columns, name)
        elif names_shards(full):
            self.check_files(shard_paths(full), name)
        elif parts[0].is_file():
            self._check_list(parts[0], columns, name)

    def _check_list(self, path: Path, columns: Mapping[str, str | None], name: str) -> None:
        from convwright.data.layout import Found
        from convwright.data.sources import find_in

        found = find_in(path, columns, training=False)
        if isinstance(found, Found):
            self.check_files(found.paths, name)

    def _check_hugging_face(self, folder: Path, columns: Mapping[str, str | None], name: str) -> None:
        """Check the files of a data set of Hugging Face before it is opened, and then the images that it names."""
        from convwright.data.hugging_face import HuggingFaceItems, data_files, open_hugging_face

        self.check_files((self.root / file for file in data_files(folder)), name)
        items = open_hugging_face(str(folder), columns, training=False, offline_only=True).items
        assert isinstance(items, HuggingFaceItems)
        self.check_files((self.root / file for file in items.image_files()), name)

    def _link_outside(self, folder: Path) -> Path | None:
        """Return a link below a folder that leads outside, if there is one; folders that links lead to are searched."""
        waiting, seen = [folder], set()
        while waiting:
            found = waiting.pop()
            if (place := os.path.realpath(found)) in seen:
                continue
            seen.add(place)
            with suppress(OSError), os.scandir(found) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self.contains(Path(entry.path)):
                        return Path(entry.path)
                    if entry.is_dir():
                        waiting.append(Path(entry.path))
        return None


def _message(name: str, what: str, path: Path) -> str:
    place = Path(os.path.realpath(path))
    folder = place if place.is_dir() else place.parent
    return (
        f"{name}: {what} {printable(place)}, outside the studio's folder; "
        f"to allow it, start the studio with --allow {printable(folder)}"
    )

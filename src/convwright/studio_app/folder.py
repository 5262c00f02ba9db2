"""The folder of the studio: what is in it, and the check that nothing outside it is used."""

import glob
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convwright import json_text
from convwright.data.opened import COLUMNS
from convwright.errors import ConvwrightError, UsageError
from convwright.files import IMAGE_SUFFIXES
from convwright.studio_app.boundary import Boundary

OWN = ".convwright-studio"
"""Folder that holds the records of processes."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BUILT_IN = ("digits", "fashion-mnist")
MODEL_SUFFIXES = (".onnx", ".xml", ".safetensors", ".tflite", ".pte")
DEEPEST, MOST = 3, 500


@dataclass(frozen=True)
class StudioFolder:
    """A folder whose content the studio shows.

    Args:
        root: The folder, absolute and without symbolic links.
        allowed: Further folders that may be read, likewise.
    """

    root: Path
    allowed: tuple[Path, ...] = ()

    @property
    def boundary(self) -> Boundary:
        """What may be read."""
        return Boundary(self.root, self.allowed)

    def path(self, name: str) -> Path:
        """Return the absolute path of a name that the page sends.

        Raises:
            UsageError: The name is empty, absolute, or leads outside the folder.
        """
        relative = Path(name)
        if not name.strip() or "\0" in name or name.startswith("-") or relative.is_absolute():
            raise UsageError(f"{name!r}: not a path in the studio's folder; name one relative to it")
        found = (self.root / relative).resolve()
        if found == self.root or not found.is_relative_to(self.root):
            raise UsageError(f"{name!r}: outside the studio's folder; name a path in it")
        return found

    def run(self, name: str) -> Path:
        """Return the directory of a run in the folder."""
        path = self.path(name)
        if not is_run(path):
            raise UsageError(f"{name}: not a run; choose one of the list")
        self.boundary.check(path, name)
        return path

    def run_with_data(self, name: str) -> Path:
        """Return the directory of a run in the folder whose images may be read too."""
        path = self.run(name)
        self.check_images(path, name)
        return path

    def check_images(self, run: Path, name: str) -> None:
        """Check that the images of a run may be read.

        Raises:
            UsageError: An image is outside the folder.
        """
        from convwright.training.run import Run

        config = Run.open(run).config
        self.boundary.check_data(config.data, {column: getattr(config, column) for column in COLUMNS}, name)

    def design(self, name: str) -> Path:
        """Return the folder of a design, whose images may be read."""
        path = self.path(name)
        if not path.is_dir():
            raise UsageError(f"{name}: there is no such folder of a design; choose one of the list")
        self.boundary.check(path, name)
        from convwright.designing.request import STUDY  # here, since it imports torch

        if (path / STUDY).exists():
            raise UsageError(
                f"{name}: the trials of this design are shared with workers; "
                f"resume it with `cw.design(resume={name!r})`"
            )
        from convwright.designing.state import State

        request = State.open(path).request
        data, options = request.get("data"), request.get("data_options")
        if not isinstance(data, str) or not isinstance(options, dict):
            raise UsageError(f"{name}: the design is damaged; start a new one")
        self.boundary.check_data(data, {column: options.get(column) for column in COLUMNS}, name)
        return path

    def data(self, name: str) -> str:
        """Return data as functions take it: the path of a folder of images, or the name of a built-in source."""
        if name in BUILT_IN and not (self.root / name).exists():
            return name
        path = Path(name) if name in self._allowed_data() else self.path(name)
        if not path.is_dir():
            raise UsageError(f"{name}: there is no such folder of images; choose one of the list")
        self.boundary.check_data(str(path), {}, name)
        return str(path)

    def model(self, name: str) -> Path:
        """Return the path of an exported file or a run in the folder."""
        path = self.path(name)
        if not is_run(path) and not (path.is_file() and path.suffix in MODEL_SUFFIXES):
            raise UsageError(f"{name}: neither an exported file nor a run; choose one of the list")
        if is_run(path):
            self.boundary.check(path, name)
        else:
            self.boundary.check_files(path.parent.glob(f"{glob.escape(path.stem)}.*"), name)
        return path

    def new(self, kind: str, name: str, suffix: str = "") -> Path:
        """Return a path of a new file or folder.

        Args:
            kind: Folder of its kind, such as `runs`.
            name: Its name, without the suffix.
            suffix: Suffix of the file.

        Raises:
            UsageError: The name has other characters than names of files should have, or exists.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"name {name!r}: use up to 64 letters, digits, '.', '_' and '-', a letter or digit first")
        path = self.path(f"{kind}/{name}{suffix}")
        if path.exists():
            raise UsageError(f"{kind}/{name}{suffix} exists; choose another name")
        return path

    def relative(self, path: Path) -> str:
        """Return a path as the page shows it."""
        return path.relative_to(self.root).as_posix()

    def runs(self) -> list[str]:
        """Return the runs of the folder, the newest first."""
        found = sorted(filter(is_run, self._folders()), key=lambda path: path.stat().st_mtime, reverse=True)
        return [self.relative(path) for path in found]

    def datasets(self) -> list[str]:
        """Return folders that have classes with images, data sets of Hugging Face, and the built-in sources."""
        folders = [self.relative(path) for path in self._folders() if self._has_data(path)]
        return sorted(folders) + self._allowed_data() + [name for name in BUILT_IN if name not in folders]

    def models(self) -> list[str]:
        """Return exported files."""
        suffixes = (".onnx", ".xml")
        files = (each for folder in (self.root, *self._folders()) for each in _children(folder))
        return sorted({self.relative(path) for path in files if path.suffix in suffixes and self._is_inside(path)})

    def pages(self) -> list[str]:
        """Return HTML pages, the newest first."""
        files = [each for folder in (self.root, *self._folders()) for each in _children(folder)]
        pages = [path for path in files if path.suffix == ".html" and self._is_inside(path)]
        return [self.relative(path) for path in sorted(pages, key=lambda path: path.stat().st_mtime, reverse=True)]

    def _is_inside(self, path: Path) -> bool:
        return self.boundary.contains(path) and path.is_file()

    def _allowed_data(self) -> list[str]:
        """Return those of the allowed folders that have data."""
        return [str(path) for path in self.allowed if self._has_data(path)]

    def _has_data(self, folder: Path) -> bool:
        return _is_saved(folder) or self._has_classes(folder)

    def _has_classes(self, folder: Path) -> bool:
        below = self._folders_in(folder)
        return sum(map(_has_images, below)) > 1 or any(
            sum(map(_has_images, self._folders_in(path))) > 1 for path in below if path.name in ("train", "val", "test")
        )

    def _folders_in(self, folder: Path) -> list[Path]:
        return [path for path in _children(folder)[:30] if path.is_dir() and self.boundary.contains(path)]

    def _folders(self) -> Iterator[Path]:
        level, count = [self.root], 0
        for _ in range(DEEPEST):
            below = []
            for folder in level:
                for path in _children(folder):
                    if path.is_dir() and not path.is_symlink() and count < MOST:
                        count += 1
                        yield path
                        below += [] if is_run(path) or _has_images(path) or _is_saved(path) else [path]
            level = below


def is_run(path: Path) -> bool:
    """Return whether a folder is a run directory."""
    return (path / "config.yaml").is_file() and (path / "network.json").is_file()


def _is_saved(folder: Path) -> bool:
    """Return whether a folder is a data set of Hugging Face that `save_to_disk` has written."""
    from convwright.data.hugging_face import is_hugging_face

    return is_hugging_face(str(folder))


def read_json(path: Path) -> dict[str, object]:
    """Return the object of a JSON file; empty where it cannot be read."""
    with suppress(ConvwrightError):
        read = json_text.read(path)
        return read if isinstance(read, dict) else {}
    return {}


def _children(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return []


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in _children(folder)[:20])

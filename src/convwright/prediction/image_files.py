"""Images by name: files, folders, patterns, lists of names, and images in memory beside them."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np
from PIL import Image

from convwright.data.images import reason
from convwright.errors import ArgumentError, UsageError
from convwright.files import IMAGE_SUFFIXES, as_utf8
from convwright.prediction.base import AnyImage, is_tensor
from convwright.prediction.outcomes import name_of
from convwright.printable import printable

AnyImages = Union[AnyImage, "Sequence[AnyImage]"]
"""An image, or several: a list, or a tensor N x C x H x W or an array N x H x W x C."""
STANDARD_INPUT = "-"


class _Piped(BytesIO):
    """An image from standard input."""

    name = "standard input"


@dataclass(frozen=True)
class NamedImage:
    """An image to read, and its name in results."""

    name: str
    image: AnyImage


@dataclass
class FoundImages:
    """The images to read, in the order given, and a message for each name without images."""

    images: list[NamedImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def add_files(self, files: Iterable[str]) -> None:
        """Add image files under their own names."""
        self.images.extend(NamedImage(file, file) for file in files)

    def add_file_or_folder(self, name: str) -> None:
        """Add a file, also one that does not exist, or all images below a folder."""
        if not name:
            self.problems.append("an empty name; give a file, a folder or a pattern")
        elif os.path.isdir(name):  # noqa: PTH112 - which does not fail in folders without permission
            self._add_found(name, list(_images_below(name, self.problems)), "no images in this folder")
        else:  # reading a file that does not exist gives the error
            self.add_files([name])

    def add_matches(self, pattern: str) -> None:
        """Add the images that match a pattern."""
        self._add_found(pattern, _matches(pattern, self.problems), "no image file matches")

    def _add_found(self, name: str, found: Sequence[str], otherwise: str) -> None:
        self.add_files(found)
        if not found:
            self.problems.append(f"{printable(name)}: {otherwise}")


def find_images(images: "AnyImages" = (), files_from: str | Path | None = None) -> FoundImages:
    """Find images by name.

    Args:
        images: Files, folders (images at any depth), patterns (`photos/**/*.png`), `-` for an image on standard
            input, and images in memory; one of these or several.
        files_from: A file, or `-` for standard input, with more names of files and folders: one a line, or ended
            by NUL.

    Returns:
        The images that were found, with a message for each name that matched none.

    Raises:
        ArgumentError: No image was found, or standard input would be read twice.
    """
    given = _several(images)
    if [*(one for one in given if isinstance(one, str)), files_from].count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be read once: as an image, or as a list of names")
    found = FoundImages()
    for number, one in enumerate(given, 1):
        if not isinstance(one, str | Path):
            found.images.append(NamedImage(name_of(one, number), one))
        elif (name := str(one)) == STANDARD_INPUT:
            found.images.append(NamedImage(STANDARD_INPUT, _Piped(_standard_input().read())))
        elif has_magic(name) and not os.path.lexists(name):
            found.add_matches(name)
        else:
            found.add_file_or_folder(name)
    if files_from is not None:
        for name in _listed(str(files_from)):
            found.add_file_or_folder(name)
    if not found.images:
        problems = "; ".join(found.problems[:3]) or "name files, folders or patterns"
        raise ArgumentError("images", f"no images found: {problems}")
    return found


def _several(images: Any) -> list[AnyImage]:
    """Return a list of the images, also of one."""
    if isinstance(images, np.ndarray) or is_tensor(images):
        return list(images) if images.ndim > 3 else [images]
    if isinstance(images, str | bytes | Path | Image.Image) or hasattr(images, "read"):
        return [images]
    if not isinstance(images, Iterable):
        kind = type(images).__name__
        raise ArgumentError("images", f"an image is a file, a Pillow image, a tensor or an array, not {kind}")
    return list(images)


def _matches(pattern: str, problems: list[str]) -> list[str]:
    """Return a pattern's images: matches with an image's suffix or the pattern's own, and images in folders."""
    suffix = Path(pattern).suffix
    has_suffix = bool(suffix) and not has_magic(suffix)
    found: list[str] = []
    for match in sorted(glob(os.path.expanduser(pattern), recursive=True)):  # noqa: PTH111, PTH207
        if not Path(match).is_dir():
            found += [match] if has_suffix or _is_image(match) else []
        elif "**" not in pattern:  # which finds images in folders itself
            found += _images_below(match, problems)
    return list(dict.fromkeys(found))


def _images_below(top: str, problems: list[str]) -> Iterator[str]:
    """Yield the image files at any depth, sorted, without hidden ones; each folder once, however it is linked."""

    def add_problem(error: OSError) -> None:
        problems.append(f"{printable(error.filename)}: {reason(error)}")

    seen: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(top, onerror=add_problem, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(files) if _is_image(name))  # noqa: PTH118


def _is_image(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _listed(source: str) -> list[str]:
    """Return the names in a list; if a NUL is in it, NULs separate them, so that names may have line breaks."""
    if source == STANDARD_INPUT:
        content = _standard_input().read()
    else:
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise ArgumentError("files_from", f"{source}: {error.strerror or error}") from None
    content = as_utf8(content)  # UTF-16 has NULs of its own
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(part) for part in parts if part]


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("standard input is closed; pipe an image or names into it")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe an image or names into it")
    return sys.stdin.buffer

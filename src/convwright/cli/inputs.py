"""The images that commands read: files, folders, patterns and lists of names."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from convwright.errors import UsageError
from convwright.printable import printable

STANDARD_INPUT = "-"


class Piped(BytesIO):
    """An image from standard input."""

    name = "standard input"


@dataclass
class Inputs:
    """The images to read, in the order given, and one line for each name that led to none."""

    files: list[str | Piped] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def name_of(file: str | Piped) -> str:
    """Return what an image is called in the results."""
    return file if isinstance(file, str) else STANDARD_INPUT


def find_images(names: Sequence[str], files_from: str | None) -> Inputs:
    """Find what is named: files as they are, images below folders, matches of patterns, "-" for standard input.

    `files_from` is a file, or "-", with more names of files and folders, one a line or ended by NUL. UsageError if
    nothing was found.
    """
    if [*names, files_from].count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be read once: as an image (-), or as names (--files-from -)")
    inputs = Inputs()
    for name in names:
        if name == STANDARD_INPUT:
            inputs.files.append(Piped(_standard_input().read()))
        elif has_magic(name) and not os.path.lexists(name):
            _add(inputs, name, _matches(name, inputs.troubles), "nothing matches that could be an image")
        else:
            _add_file_or_folder(inputs, name)
    if files_from is not None:
        for name in _listed(files_from):
            _add_file_or_folder(inputs, name)
    if not inputs.files:
        raise UsageError("no images found: " + ("; ".join(inputs.troubles[:3]) or "name files, folders or patterns"))
    return inputs


def _add_file_or_folder(inputs: Inputs, name: str) -> None:
    if not name:
        inputs.troubles.append("an empty name; give a file, a folder or a pattern")
    elif os.path.isdir(name):  # noqa: PTH112 - which does not fail in folders without permission
        _add(inputs, name, list(_images_below(name, inputs.troubles)), "no images in this folder")
    else:  # also one that is not there: reading it tells why
        inputs.files.append(name)


def _add(inputs: Inputs, name: str, found: Sequence[str], otherwise: str) -> None:
    inputs.files.extend(found)
    if not found:
        inputs.troubles.append(f"{printable(name)}: {otherwise}")


def _matches(pattern: str, troubles: list[str]) -> list[str]:
    """Return a pattern's images: matches that look like one or whose suffix it spells out, and those in folders."""
    suffix = Path(pattern).suffix
    spelt_out = bool(suffix) and not has_magic(suffix)
    found: list[str] = []
    for match in sorted(glob(os.path.expanduser(pattern), recursive=True)):  # noqa: PTH111, PTH207
        if not Path(match).is_dir():
            found += [match] if spelt_out or _is_image(match) else []
        elif "**" not in pattern:  # which goes down by itself
            found += _images_below(match, troubles)
    return list(dict.fromkeys(found))


def _images_below(top: str, troubles: list[str]) -> Iterator[str]:
    """Yield the image files at any depth, sorted, hidden ones left out, each folder once, however linked."""
    from convwright.data.images import reason

    def tell(error: OSError) -> None:
        troubles.append(f"{printable(error.filename)}: {reason(error)}")

    seen: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(top, onerror=tell, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(files) if _is_image(name))  # noqa: PTH118


def _is_image(name: str) -> bool:
    from convwright.data.images import IMAGE_SUFFIXES

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
            raise UsageError(f"--files-from {source}: {error.strerror or error}") from None
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(part) for part in parts if part]


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("standard input is closed; pipe an image or names into it")
    if sys.stdin.isatty():
        raise UsageError("standard input is the keyboard; pipe an image or names into it")
    return sys.stdin.buffer

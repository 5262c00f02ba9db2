"""Data from a folder: a sub-folder of images per class, within ``train``, ``val`` and ``test`` or without."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import TypeVar

import torch

from convwright.data.dataset import Parts, Split, keep
from convwright.data.images import IMAGE_SUFFIXES, Header, decode, printable, quiet, read_header, reason
from convwright.data.memory import check_fits
from convwright.data.threads import Progress, in_threads
from convwright.errors import DataError

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
LAYOUT = "the layout must be FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with val and test beside it"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """The image files of one split, by class, before any of them is opened."""

    role: str
    paths: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def read_folder(root: Path, resolution: int | None, largest: int, progress: Progress | None) -> Parts:
    """Find the images below ``root`` and decode them.

    They stay grey if all are grey. ``resolution`` None means the median of their short sides, at most ``largest``.
    """
    skipped: list[str] = []
    splits, classes = _find(root, skipped)
    with quiet():
        by_role = {role: _keep_readable(found, root, skipped, progress) for role, found in splits.items()}
        _check_classes(splits, classes, root, skipped)
        headers = [header for role in by_role for header in by_role[role]]
        resolution = resolution or min(_median_side(by_role["train"]), largest)
        channels = 1 if all(header.grey for header in headers) else 3
        check_fits(len(headers), channels, resolution)
        decoded = {
            role: _decode_all(found, root, (channels, resolution, resolution), skipped, progress)
            for role, found in splits.items()
        }
    # Again, as some images turn out damaged only when decoded.
    _check_classes(splits, classes, root, skipped)
    return Parts(
        tuple(map(printable, classes)),
        decoded["train"],
        decoded.get("val"),
        decoded.get("test"),
        tuple(skipped),
    )


def _median_side(headers: list[Header]) -> int:
    return median_low(header.short_side for header in headers)


def _find(root: Path, skipped: list[str]) -> tuple[dict[str, Found], list[str]]:
    """Return the splits that the folder has, ``train`` always among them, and the names of the classes."""
    folders = _split_folders(root)
    classes = [folder.name for folder in _subfolders(folders["train"])]
    if not classes:
        raise DataError(f"{printable(folders['train'])} has no sub-folders: {LAYOUT}")
    if len(classes) == 1:
        raise DataError(_only_one_class(folders["train"] / classes[0]))
    splits: dict[str, Found] = {}
    for role, folder in folders.items():
        subfolders = _subfolders(folder)
        unknown = [printable(sub.name) for sub in subfolders if sub.name not in classes]
        if role == "test" and not subfolders:  # as in competitions, whose test images have no labels
            skipped.append(f"{printable(folder.name)}: it has no class sub-folders")
            continue
        if unknown:
            raise DataError(f"{printable(folder)} has classes that the training data lacks: {', '.join(unknown[:5])}")
        splits[role] = found = Found(role)
        for sub in subfolders:
            paths = list(_images_below(sub, root, skipped))
            found.paths.extend(paths)
            found.labels.extend([classes.index(sub.name)] * len(paths))
    return splits, classes


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of ``train``, ``val`` and ``test``; without them ``root`` itself is ``train``."""
    by_name = {folder.name.lower(): folder for folder in _subfolders(root)}
    named = {
        role: next((by_name[name] for name in names if name in by_name), None)
        for role, names in (("train", TRAIN), ("val", VAL), ("test", TEST))
    }
    train = named["train"]
    only_splits = bool(by_name) and set(by_name) <= {*TRAIN, *VAL, *TEST}
    if only_splits and train is None:
        raise DataError(f"{printable(root)} has {' and '.join(sorted(by_name))} but no train: {LAYOUT}")
    # Beside cars and buses, a folder "train" that holds images directly is a class.
    if train is None or not (only_splits or _subfolders(train)):
        return {"train": root}
    return {role: folder for role, folder in named.items() if folder is not None}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _only_one_class(folder: Path) -> str:
    inner = _subfolders(folder)
    hint = f"; did you mean {printable(folder)}?" if len(inner) > 1 else ""
    return f"{printable(folder.parent)} has one class only, {printable(folder.name)}: {LAYOUT}{hint}"


def _images_below(top: Path, root: Path, skipped: list[str]) -> Iterator[Path]:
    """Yield the image files at any depth, in a fixed order, and each folder once, however linked."""
    seen = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            entries = sorted(folder.iterdir())
        except OSError as error:
            skipped.append(f"{printable(folder.relative_to(root))}: {reason(error)}")
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if _is_hidden(entry):
                continue
            if entry.is_dir():
                waiting.append(entry)
            elif entry.suffix.lower() in IMAGE_SUFFIXES:
                yield entry


def _keep_readable(found: Found, root: Path, skipped: list[str], progress: Progress | None) -> list[Header]:
    """Read the headers, and drop the files which have none."""

    def look(path: Path) -> Header | str:
        try:
            return read_header(path)
        except Exception as error:  # Pillow raises nearly anything on damaged files
            return _why(path, root, error)

    results = in_threads(look, found.paths, progress, f"looking at {found.role} images")
    return _drop_failed(found, results, skipped)


def _decode_all(
    found: Found, root: Path, shape: tuple[int, int, int], skipped: list[str], progress: Progress | None
) -> Split:
    """Decode each file into its row of one tensor, and close the gaps that damaged ones leave."""
    images = torch.empty(len(found.paths), *shape, dtype=torch.uint8)
    labels = torch.tensor(found.labels, dtype=torch.int64)
    pixels = images.numpy()
    channels, resolution, _ = shape

    def fill(row: int) -> int | str:
        try:
            pixels[row] = decode(found.paths[row], resolution, channels)
        except Exception as error:
            return _why(found.paths[row], root, error)
        return row

    results = in_threads(fill, range(len(found.paths)), progress, f"decoding {found.role} images")
    rows = _drop_failed(found, results, skipped)
    return keep(Split(images, labels), torch.tensor(rows, dtype=torch.int64))


def _drop_failed(found: Found, results: list[Result | str], skipped: list[str]) -> list[Result]:
    """Take the files whose result is a reason (text) out of ``found``; return the other results."""
    good = {row: result for row, result in enumerate(results) if not isinstance(result, str)}
    skipped.extend(result for result in results if isinstance(result, str))
    found.paths[:] = [found.paths[row] for row in good]
    found.labels[:] = [found.labels[row] for row in good]
    return list(good.values())


def _why(path: Path, root: Path, error: Exception) -> str:
    broken = isinstance(error, FileNotFoundError) and path.is_symlink()
    return f"{printable(path.relative_to(root))}: {'a broken link' if broken else reason(error)}"


def _check_classes(splits: dict[str, Found], classes: list[str], root: Path, skipped: list[str]) -> None:
    """Refuse data in which a class could not be learnt or, where a split must be made, not be validated."""
    for found in splits.values():
        if not found.paths:
            example = f" (the first of {len(skipped)} skipped: {skipped[0]})" if skipped else f": {LAYOUT}"
            raise DataError(f"{printable(root)} has no readable {found.role} images{example}")
    counts = Counter(splits["train"].labels)
    least = 1 if "val" in splits else 2
    for label, name in enumerate(classes):
        if counts[label] < least:
            raise DataError(
                f"class {printable(name)} in {printable(root)} has {counts[label]} readable training "
                f"images and needs at least {least}" + (", one of them to validate on" if least == 2 else "")
            )

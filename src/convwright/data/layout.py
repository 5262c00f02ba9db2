"""Layout of a folder of images: a sub-folder per class, inside `train`, `val` and `test` or without them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from convwright.data.images import IMAGE_SUFFIXES, printable, reason
from convwright.errors import DataError

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
LAYOUT = "the layout must be FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with val and test beside it"


@dataclass(frozen=True)
class SplitFiles:
    """The image files of one split, with their classes, before any of them is opened."""

    role: str
    paths: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def find(root: Path, skipped: list[str]) -> tuple[dict[str, SplitFiles], list[str]]:
    """Return the splits that the folder has, ``train`` always among them, and the names of the classes."""
    folders = _split_folders(root)
    classes = [folder.name for folder in _subfolders(folders["train"])]
    if not classes:
        raise DataError(f"{printable(folders['train'])} has no sub-folders: {LAYOUT}")
    if len(classes) == 1:
        raise DataError(_only_one_class(folders["train"] / classes[0]))
    splits: dict[str, SplitFiles] = {}
    for role, folder in folders.items():
        subfolders = _subfolders(folder)
        unknown = [printable(sub.name) for sub in subfolders if sub.name not in classes]
        if role == "test" and not subfolders:  # as in competitions, whose test images have no labels
            skipped.append(f"{printable(folder.name)}: it has no class sub-folders")
            continue
        if unknown:
            raise DataError(f"{printable(folder)} has classes that the training data lacks: {', '.join(unknown[:5])}")
        splits[role] = found = SplitFiles(role)
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

"""Layout of a folder of images: a sub-folder per class, inside `train`, `val` and `test` or without them."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convwright.data.images import IMAGE_SUFFIXES, printable, reason
from convwright.data.skipped import NOT_AN_IMAGE, OUTSIDE, SYSTEM, UNUSED, SkippedCounter, in_one_line, is_system
from convwright.display.wording import listed
from convwright.errors import DataError

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
ROLES = {name: role for role, names in (("train", TRAIN), ("val", VAL), ("test", TEST)) for name in names}
"""Names of splits, in lower case, by what is written."""
LAYOUT = "the layout must be FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with val and test beside it"
LISTS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
"""Suffixes of lists of images with labels."""
_NUMBERED = re.compile(rf"(?:{'|'.join(ROLES)})[ _.-]?\d+", re.I)
"""Names such as train2, which may be meant as splits."""
_ALIKE = re.compile(rf"(?:{'|'.join(ROLES)})[ _.-].+", re.I)
"""Names such as test-old, which may be meant as splits beside a split."""
NAMED = 5
"""Most names in a message."""


@dataclass(frozen=True)
class SplitFiles:
    """The image files of one split, with their labels, before any of them is opened."""

    role: str
    root: Path
    names: list[str] = field(default_factory=list)
    """Paths relative to `root`: texts, as there may be millions."""
    labels: list[int] | list[tuple[int, ...]] = field(default_factory=list)
    """The class of each image; or the classes of each, where an image may have several labels."""
    weights: list[float] | None = None
    """Weight of each image in the loss; None: all are 1."""
    groups: list[str] | None = None
    """Group of each image, whose images stay in one split; empty for an image without a group."""
    lines: list[int] | None = None
    """Line of each image in its list; None: they are not from a list."""

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [self.root / name for name in self.names]

    def label_sets(self) -> list[tuple[int, ...]]:
        """Return the classes of each image as a tuple, of one class where images have one label."""
        return [label if isinstance(label, tuple) else (label,) for label in self.labels]

    def keep(self, kept: list[int]) -> None:
        """Drop all images but those at these positions."""
        columns: tuple[list[Any] | None, ...] = (self.names, self.labels, self.weights, self.groups, self.lines)
        for values in columns:
            if values is not None:
                values[:] = [values[position] for position in kept]


@dataclass(frozen=True)
class Found:
    """Image files of a folder or a list, by split."""

    root: Path
    """Folder that the files' names are relative to."""
    splits: dict[str, SplitFiles]
    classes: list[str]
    skipped: list[str] = field(default_factory=list)
    """One line for each folder that is not used, and why."""
    files: SkippedCounter = field(default_factory=SkippedCounter)
    """Counts of files that are not used."""
    multi_label: bool = False
    """Whether an image may have several labels."""
    name: str = ""
    """What messages call the data: the folder, or the list."""

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [path for found in self.splits.values() for path in found.paths]

    @property
    def shown(self) -> str:
        """What messages call the data, for a terminal."""
        return printable(self.name or self.root)


def find_images(root: Path, *, training: bool = True) -> Found:
    """Return the image files below a folder by split and class.

    Args:
        root: The folder.
        training: Whether the images are to train on: there must be training images, of two classes or more, and other
            splits must have no further classes. To evaluate, any split and any class will do.

    Raises:
        DataError: The folder is not laid out by class, or what its folders mean is ambiguous.
    """
    return _Search(root, training=training).found()


class _Search:
    """The search below one folder. Names are relative to the folder; each entry is read once."""

    def __init__(self, root: Path, *, training: bool) -> None:
        self.root, self.training = root, training
        self.skipped: list[str] = []
        self.files = SkippedCounter()

    def found(self) -> Found:
        folders = self._split_folders()
        inside = {role: self._class_folders(folder) for role, folder in folders.items()}
        for role, folder in folders.items():
            if inside[role] or role != "test":
                self._count_beside(folder)
        if "test" in inside and not inside["test"] and len(inside) > 1:  # as in competitions
            name = folders.pop("test")
            self._count_below(name, UNUSED)
            del inside["test"]
            self.skipped.append(f"{printable(name)}: it has no class sub-folders")
        classes = self._classes(folders, inside)
        numbers = {name: number for number, name in enumerate(classes)}
        splits: dict[str, SplitFiles] = {}
        for role, folder in folders.items():
            paths: list[str] = []
            labels: list[int] = []
            for name in inside[role]:
                paths.extend(self._images_below(os.path.join(folder, name)))  # noqa: PTH118
                labels.extend([numbers[name]] * (len(paths) - len(labels)))
            splits[role] = SplitFiles(role, self.root, paths, labels)
        if not any(split.names for split in splits.values()):
            others = in_one_line(self.files.counts()) or "the folders are empty"
            raise DataError(f"{printable(self.root)} has no images: {others}; {LAYOUT}{self._list_hint()}")
        return Found(self.root, splits, classes, self.skipped, self.files)

    def _classes(self, folders: dict[str, str], inside: dict[str, list[str]]) -> list[str]:
        """Return the names of the classes: those of the training split, or to evaluate, of any split."""
        if not self.training:
            classes = sorted({name for names in inside.values() for name in names})
            if not classes:
                raise DataError(f"{self._shown(next(iter(folders.values())))} has no sub-folders: {LAYOUT}")
            return classes
        train = self._shown(folders["train"])
        classes = inside["train"]
        if not classes:
            raise DataError(f"{train} has no sub-folders: {LAYOUT}{self._list_hint()}")
        if len(classes) == 1:
            inner = self._class_folders(os.path.join(folders["train"], classes[0]))  # noqa: PTH118
            hint = f"; did you mean {train}/{printable(classes[0])}?" if len(inner) > 1 else ""
            raise DataError(f"{train} has one class only, {printable(classes[0])}: {LAYOUT}{hint}")
        known = set(classes)
        for role, names in inside.items():
            if unknown := [printable(name) for name in names if name not in known]:
                folder = self._shown(folders[role])
                raise DataError(f"{folder} has classes that the training data lacks: {', '.join(unknown[:NAMED])}")
        return classes

    def _split_folders(self) -> dict[str, str]:
        """Return the folders of the splits; the folder itself is ``train`` where it has a sub-folder per class."""
        names = self._class_folders("")
        roles = {name: ROLES[name.lower()] for name in names if name.lower() in ROLES}
        structured = [name for name in names if name in roles or _NUMBERED.fullmatch(name)]
        structured = [name for name in structured if self._class_folders(name)]
        if any(name in roles for name in structured):
            structured += [name for name in names if _ALIKE.fullmatch(name) and self._class_folders(name)]
        others = [name for name in names if name not in roles]
        if not structured and (others or not roles):
            self._check_classes_hold_no_splits(names)
            return {"train": ""}
        self._check_unambiguous(names, roles, structured)
        if self.training and "train" not in roles.values():
            shown = " and ".join(sorted(map(printable, roles)))
            raise DataError(f"{printable(self.root)} has {shown} but no train: {LAYOUT}")
        self._count_beside("")
        for name in others:
            if self._count_below(name, UNUSED):
                self.skipped.append(f"{printable(name)}: not used, since it is no split ({self._splits_shown(roles)})")
        by_role = {role: name for name, role in roles.items()}
        return {role: by_role[role] for role in ("train", "val", "test") if role in by_role}

    def _check_unambiguous(self, names: list[str], roles: dict[str, str], structured: list[str]) -> None:
        """Refuse folders that may be splits as well as classes, and splits of which there are two."""
        root = printable(self.root)
        for role in ("train", "val", "test"):
            same = [name for name in names if roles.get(name) == role]
            same += [name for name in structured if name not in roles and name.lower().startswith(role)]
            if len(same) > 1 or (same and same[0] not in roles):
                shown = listed(map(printable, same))
                many = f"{shown} are all {role}" if len(same) > 1 else f"{shown} may be {role}"
                raise DataError(
                    f"{root}: it is ambiguous which images are meant, as {many} by name; "
                    f"move the images into one folder {role}, or name the folder of the images"
                )
        others = [name for name in names if name not in roles and self._has_images(name)]
        clear = "train" in {roles.get(name) for name in structured} and len({roles[name] for name in roles}) > 1
        if others and not clear:
            shown = ", ".join(map(printable, others[:NAMED])) + " ..." * (len(others) > NAMED)
            split = printable(structured[0])
            raise DataError(
                f"{root}: it is ambiguous whether {split} is a split or a class, as it has sub-folders and stands "
                f"beside {shown}; give {root}/{split} to use its images alone, or move the others away"
            )

    def _check_classes_hold_no_splits(self, classes: list[str]) -> None:
        for name in classes:
            inner = [sub for sub in self._class_folders(name) if sub.lower() in ROLES]
            if len({ROLES[sub.lower()] for sub in inner}) > 1:
                raise DataError(
                    f"{self._shown(name)} has the folders {listed(map(printable, inner))}, which would all be one "
                    f"class: {LAYOUT}"
                )

    def _class_folders(self, folder: str) -> list[str]:
        """Return the names of the sub-folders, sorted."""
        with os.scandir(self.root / folder) as entries:
            return sorted(entry.name for entry in entries if _is_folder(entry) and not is_system(entry.name))

    def _count_beside(self, folder: str) -> None:
        """Count the files that stand beside the sub-folders."""
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                if is_system(entry.name) or not is_folder:
                    self._count_entry(entry, os.path.join(folder, entry.name), is_folder=is_folder)  # noqa: PTH118

    def _count_entry(self, entry: "os.DirEntry[str]", name: str, *, is_folder: bool) -> None:
        if is_folder:
            self._count_below(name, SYSTEM)
        elif is_system(entry.name):
            self.files.add(name, SYSTEM)
        else:
            self.files.add(name, OUTSIDE if _is_image(name) else NOT_AN_IMAGE)

    def _images_below(self, top: str) -> Iterator[str]:
        """Yield the image files at any depth, in a fixed order, and each folder once, however linked."""
        seen = set()
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                status = (self.root / folder).stat()
                with os.scandir(self.root / folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self.skipped.append(f"{printable(folder)}: {reason(error)}")
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            for entry in entries:
                name = f"{folder}{os.sep}{entry.name}"
                is_folder = _is_folder(entry)
                if is_system(entry.name):
                    self._count_entry(entry, name, is_folder=is_folder)
                elif is_folder:
                    waiting.append(name)
                elif _is_image(name):
                    yield name
                else:
                    self.files.add(name, NOT_AN_IMAGE)

    def _count_below(self, top: str, why: str) -> int:
        """Count all files below a folder that is not used, without following links; return their number."""
        total = 0
        for folder, _, names in os.walk(self.root / top):
            inside = os.path.relpath(folder, self.root)
            for name in names:
                self.files.add(os.path.join(inside, name), why)  # noqa: PTH118
            total += len(names)
        return total

    def _has_images(self, top: str) -> bool:
        return any(_is_image(name) for _, _, names in os.walk(self.root / top) for name in names)

    def _list_hint(self) -> str:
        """Return a hint at a list of images beside them."""
        found = sorted(path for path in self.root.iterdir() if path.suffix.lower() in LISTS)
        return f"; did you mean the list {printable(found[0])}?" if found else ""

    def _splits_shown(self, roles: dict[str, str]) -> str:
        return f"beside {listed(map(printable, sorted(roles)))}"

    def _shown(self, folder: str) -> str:
        return printable(self.root / folder if folder else self.root)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - of a text, for each of many files

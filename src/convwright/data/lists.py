"""Lists of images with labels: which columns they have, and which images they name."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from convwright import json_text
from convwright.data.joined_labels import guessed_separator, unused_separator
from convwright.data.layout import NAMED, ROLES, Found, SplitFiles
from convwright.data.registry import SOURCES
from convwright.data.skipped import LISTED_TWICE, SkippedCounter
from convwright.data.tables import SUFFIXES, Row, Table, read_table
from convwright.display.wording import counted, listed
from convwright.errors import ArgumentError, DataError, warn
from convwright.printable import number_text, printable

NAMES: dict[str, tuple[str, ...]] = {
    "path_column": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_file"),
        *("image_name", "img", "img_path"),
    ),
    "label_column": (
        *("label", "labels", "class", "classes", "class_name", "category", "categories", "target", "targets"),
        *("tag", "tags"),
    ),
    "split_column": ("split", "subset", "partition", "set"),
    "group_column": ("group", "groups", "group_id"),
    "weight_column": ("weight", "weights", "sample_weight"),
}
"""Names by which a column is found, in lower case; spaces and hyphens count as underscores."""
REQUIRED = ("path_column", "label_column")
_OF_SOURCE = re.compile(r"([a-z0-9][a-z0-9._-]*):(train|val|test)/(\d+)")
"""An image of a named source, such as fashion-mnist:train/17."""


class SourceImage(NamedTuple):
    """Place of an image in a source: its split and its position there."""

    role: str
    position: int


class Entry(NamedTuple):
    """A row of a list."""

    line: int
    path: str
    labels: tuple[str, ...]
    role: str = "train"
    weight: float = 1.0
    group: str = ""


LARGEST_WEIGHT = 1e6
"""Largest weight of an image in the loss; larger ones make the sum of a batch inexact."""


@dataclass(frozen=True)
class ImageList:
    """The rows of a list, checked one by one."""

    path: Path
    entries: list[Entry]
    multi_label: bool
    weighted: bool
    grouped: bool
    files: SkippedCounter = field(default_factory=SkippedCounter)
    skipped: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted as folders are."""
        return sorted({label for entry in self.entries for label in entry.labels})

    @property
    def source(self) -> str:
        """The source whose images the list names; empty for a list of files."""
        found = _OF_SOURCE.fullmatch(self.entries[0].path) if self.entries else None
        return found[1] if found and found[1] in SOURCES else ""


def is_list(spec: str) -> bool:
    """Return whether data is a list of images, by the suffix of a file's name."""
    return os.path.splitext(spec)[1].lower() in SUFFIXES  # noqa: PTH122


def read_list(path: Path, columns: Mapping[str, str | None]) -> ImageList:
    """Read a list of images and check its rows.

    Args:
        path: The file.
        columns: Columns that were given, by the names of the parameters, such as `label_column`; also
            `label_separator`, the text between labels in a cell.

    Raises:
        ArgumentError: There is no column of a given name.
        DataError: The list cannot be read, lacks a column, or has rows that contradict each other.
    """
    table = read_table(path)
    places = _places(path, table.names, columns)
    reading = _Reading(path, table, places, columns.get("label_separator"))
    entries = [reading.entry(row) for row in table.rows]
    return reading.checked(entries)


def files_of(images: ImageList, *, training: bool = True) -> Found:
    """Return the files that a list names, by split.

    Args:
        images: The list.
        training: Whether the images are to train on, so that there must be a split `train`.

    Raises:
        DataError: The list has no training images, or none of its files exists.
    """
    root, names = _relative_names(images)
    _check_found(images, root, names)
    return Found(root, *_splits(images, root, names, training=training), images.multi_label, str(images.path))


def _check_found(images: ImageList, root: Path, names: list[str]) -> None:
    """Refuse a list of which no file exists: its paths are then relative to another folder than the list's."""
    if not names or any(os.path.lexists(os.path.join(root, name)) for name in names):  # noqa: PTH118
        return
    first = images.entries[0].path
    hint = "; it is there from the current folder: move the list here, or name the column with the right paths"
    raise DataError(
        f"{printable(images.path)}: none of its {counted(len(names), 'image')} was found; paths are relative to the "
        f"list, so {printable(first)} was looked for as {printable((root / names[0]).absolute())}"
        + (hint if Path(first).exists() else "")
    )


def columns_of(path: Path, columns: Mapping[str, str | None]) -> dict[str, str]:
    """Return the names of the columns that a list is read by.

    Args:
        path: The file.
        columns: Columns that were named, by the names of the fields of `Data`; the others are found by their names.

    Raises:
        ArgumentError: There is no column of a given name.
        DataError: The list cannot be read, or lacks a column.
    """
    names = read_table(path).names
    return {parameter: names[place] for parameter, place in _places(path, names, columns).items()}


def _splits(
    images: ImageList, root: Path, names: list[str], *, training: bool
) -> tuple[dict[str, SplitFiles], list[str], list[str], SkippedCounter]:
    classes = images.classes
    numbers = {name: number for number, name in enumerate(classes)}
    splits: dict[str, SplitFiles] = {}
    for role in ("train", "val", "test"):
        rows = [(name, entry) for name, entry in zip(names, images.entries, strict=True) if entry.role == role]
        if not rows:
            continue
        labels: Any = [tuple(sorted({numbers[label] for label in entry.labels})) for _, entry in rows]
        splits[role] = SplitFiles(
            role,
            root,
            [name for name, _ in rows],
            labels if images.multi_label else [one for (one,) in labels],
            [entry.weight for _, entry in rows] if images.weighted else None,
            [entry.group for _, entry in rows] if images.grouped else None,
            [entry.line for _, entry in rows],
        )
    if training and "train" not in splits:
        found = " and ".join(splits)
        raise DataError(f"{printable(images.path)} has {found} images but none of the split train")
    return splits, classes, images.skipped, images.files


def source_images(images: ImageList) -> dict[int, SourceImage]:
    """Return the place in its source of each entry of a list, by the entry's index.

    Raises:
        DataError: An entry is no image of the source.
    """
    found = {}
    for index, entry in enumerate(images.entries):
        match = _OF_SOURCE.fullmatch(entry.path)
        if match is None or match[1] != images.source:
            raise DataError(
                f"{printable(images.path)}: line {entry.line}: {printable(entry.path)} is no image of {images.source}; "
                f"a list has images of one source, such as {images.source}:train/0, or files"
            )
        found[index] = SourceImage(match[2], int(match[3]))
    return found


def _relative_names(images: ImageList) -> tuple[Path, list[str]]:
    """Return the folder that holds all files, and their names relative to it."""
    folder = str(images.path.parent)
    names = [os.path.normpath(entry.path) for entry in images.entries]
    outside = [name for name in names if os.path.isabs(name) or name.startswith(os.pardir)]  # noqa: PTH117
    if not outside:
        return images.path.parent, names
    home = os.path.abspath(folder)  # noqa: PTH100 - without following links
    whole = [os.path.normpath(os.path.join(home, name)) for name in names]  # noqa: PTH118
    try:
        root = os.path.commonpath([home, *map(os.path.dirname, whole)])
    except ValueError:  # drives of Windows
        raise DataError(f"{printable(images.path)}: its images must be on the drive of the list") from None
    return Path(root), [os.path.relpath(name, root) for name in whole]


def _places(path: Path, names: list[str], given: Mapping[str, str | None]) -> dict[str, int]:
    """Return the position of each column that the list has."""
    shown = listed(map(printable, names)) if any(names) else "no named columns"
    places = {}
    for parameter, usual in NAMES.items():
        wanted = given.get(parameter)
        if wanted is not None:
            if wanted not in names:
                raise ArgumentError(parameter, f"{printable(path)} has no column {wanted!r}; it has {shown}")
            places[parameter] = names.index(wanted)
            continue
        found = [place for place, name in enumerate(names) if _plain(name) in usual]
        if len(found) > 1:
            both = listed((printable(names[place]) for place in found), last="or")
            raise ArgumentError(parameter, f"missing: it may be {both} in {printable(path)}; name one of them")
        if found:
            places[parameter] = found[0]
        elif parameter in REQUIRED:
            what = "path of the images" if parameter == "path_column" else "label of the images"
            raise ArgumentError(
                parameter,
                f"missing: {printable(path)} has the columns {shown}, none of them called "
                f"{listed(usual[:NAMED], last='or')}; name the column with the {what}",
            )
    return places


def _plain(name: str) -> str:
    return re.sub(r"[ -]", "_", name.strip().lower())


class _Reading:
    """The rows of one list on their way to entries."""

    def __init__(self, path: Path, table: Table, places: Mapping[str, int], separator: str | None = None) -> None:
        self.path, self.places = path, places
        label = places["label_column"]
        cells = [row.cells[label] for row in table.rows]
        texts = [cell for cell in cells if isinstance(cell, str) and not _is_json(cell)]
        if separator is None:
            self.separator, note = guessed_separator(texts, printable(path))
        else:
            self.separator, note = separator, separator and unused_separator(texts, separator)
        if note:
            warn(f"{printable(path)}: {note}")
        has_lists = len(texts) < sum(isinstance(cell, str | list) for cell in cells)
        self.multi_label = bool(self.separator) or has_lists

    def entry(self, row: Row) -> Entry:
        """Return what a row says."""
        cell = row.cells[self.places["path_column"]]
        path = cell if isinstance(cell, str) else self._plain_text(row, cell)
        if not path.strip():
            raise self._error(row, "has no path")
        if "\0" in path:
            raise self._error(row, f"{printable(path)}: no file has a NUL character in its name")
        if "://" in path:
            raise self._error(row, f"{printable(path)}: images must be files; download them first")
        return Entry(
            row.line,
            self._existing(path),
            self._labels(row),
            self._role(row),
            self._weight(row),
            self._text(row, "group_column"),
        )

    def checked(self, entries: list[Entry]) -> ImageList:
        """Return the list, after checks that concern more than one row."""
        images = ImageList(
            self.path, [], self.multi_label, "weight_column" in self.places, "group_column" in self.places
        )
        entries = self._without_unlabelled_test(entries, images)
        if not self.multi_label and (empty := [entry for entry in entries if not entry.labels]):
            raise DataError(
                f"{printable(self.path)}: line {empty[0].line} has no label"
                + (f", and so have {len(empty) - 1:,} more" if len(empty) > 1 else "")
                + "; add the label or remove the row"
            )
        first: dict[str, Entry] = {}
        for entry in entries:
            before = first.setdefault(os.path.normpath(entry.path), entry)
            if before is entry:
                images.entries.append(entry)
                continue
            what = self._contradiction(before, entry)
            if what:
                raise DataError(
                    f"{printable(self.path)}: lines {before.line} and {entry.line} name the same image, "
                    f"{printable(entry.path)}, {what}; remove one of them"
                )
            images.files.add(entry.path, LISTED_TWICE)
        weights = {entry.weight for entry in images.entries if entry.role == "train"}
        if weights == {0.0}:
            raise DataError(f"{printable(self.path)}: the weights of all training images are 0")
        self._warn_of_groups(images.entries)
        return images

    def _warn_of_groups(self, entries: list[Entry]) -> None:
        """Warn where the list's own splits separate images of a group: test images then resemble training images."""
        first: dict[str, Entry] = {}
        apart = {
            entry.group for entry in entries if entry.group and first.setdefault(entry.group, entry).role != entry.role
        }
        if apart:
            groups = "1 group has" if len(apart) == 1 else f"{len(apart):,} groups have"
            name = min(apart)
            warn(
                f"{printable(self.path)}: {groups} images in more than one split, such as {printable(name)}; "
                "the list's splits are kept, and accuracies on such images say little about new groups"
            )

    def _contradiction(self, one: Entry, other: Entry) -> str:
        if set(one.labels) != set(other.labels):
            both = (listed(map(printable, each.labels)) if each.labels else "no label" for each in (one, other))
            return f"with different labels ({' and '.join(both)})"
        if one.role != other.role:
            return f"in two splits ({one.role} and {other.role})"
        if (one.weight, one.group) != (other.weight, other.group):
            return "with different weights or groups"
        return ""

    def _without_unlabelled_test(self, entries: list[Entry], images: ImageList) -> list[Entry]:
        """Leave out test images without any label, as competitions have them."""
        test = [entry for entry in entries if entry.role == "test"]
        if not test or len(test) == len(entries) or any(entry.labels for entry in test):
            return entries
        images.skipped.append(f"test: it has no labels, in {len(test):,} rows")
        return [entry for entry in entries if entry.role != "test"]

    def _labels(self, row: Row) -> tuple[str, ...]:
        cell = row.cells[self.places["label_column"]]
        if isinstance(cell, str) and _is_json(cell):
            cell = json_text.parse(cell, f"{printable(self.path)}: line {row.line}", DataError)
        elif isinstance(cell, str) and self.separator:
            cell = cell.split(self.separator)
        labels = [self._plain_text(row, one) for one in (cell if isinstance(cell, list) else [cell])]
        if not self.multi_label and any("\udc80" <= sign <= "\udcff" for label in labels for sign in label):
            raise self._error(row, "is not UTF-8; save the list in UTF-8")
        return tuple(label for label in labels if label)

    def _role(self, row: Row) -> str:
        if "split_column" not in self.places:
            return "train"
        text = self._text(row, "split_column")
        if text.lower() not in ROLES:
            given = f"the split {printable(text)!r:.60}" if text else "no split"
            raise self._error(row, f"has {given}; it must be train, val or test")
        return ROLES[text.lower()]

    def _weight(self, row: Row) -> float:
        if "weight_column" not in self.places:
            return 1.0
        cell = row.cells[self.places["weight_column"]]
        try:
            weight = float(cell)
        except (TypeError, ValueError):
            weight = math.nan
        if not 0 <= weight <= LARGEST_WEIGHT or isinstance(cell, bool):  # NaN is neither
            raise self._error(
                row, f"has the weight {cell!r:.40}; it must be a number, 0 to {number_text(LARGEST_WEIGHT)}"
            )
        return weight

    def _text(self, row: Row, parameter: str) -> str:
        return self._plain_text(row, row.cells[self.places[parameter]]) if parameter in self.places else ""

    def _plain_text(self, row: Row, cell: object) -> str:
        """Return a cell as text; numbers of other formats than CSV are written as whole numbers where they are."""
        if cell is None:
            return ""
        if isinstance(cell, float) and cell.is_integer():
            cell = int(cell)
        if not isinstance(cell, str | int) or isinstance(cell, bool):
            raise self._error(row, f"has {cell!r:.40} where a text or a whole number must be")
        return str(cell).strip()

    def _existing(self, path: str) -> str:
        """Return a path with this system's separators and without blanks around it, unless there is such a file."""
        foreign = os.sep == "/" and "\\" in path
        if not (foreign or path != path.strip()) or (self.path.parent / path).exists():
            return path
        return path.strip().replace("\\", os.sep)

    def _error(self, row: Row, what: str) -> DataError:
        return DataError(f"{printable(self.path)}: line {row.line} {what}")


def _is_json(cell: str) -> bool:
    return cell.startswith("[") and cell.rstrip().endswith("]")

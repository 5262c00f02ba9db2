"""A folder or a list of images split into training, validation and test images: a new list."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from convwright import json_text
from convwright.brief import Brief
from convwright.csv_text import csv_table
from convwright.data.framing import Framing
from convwright.data.images import Header, framing_for, quiet, read_header, reason_of
from convwright.data.layout import Found
from convwright.data.likeness import Clusters, Likeness, likeness_of
from convwright.data.lists import JOINED, ImageList
from convwright.data.skipped import UNREADABLE, SkippedFiles
from convwright.data.sources import NO_COLUMNS, SOURCES, existing, find_in
from convwright.data.split import assign_parts
from convwright.data.threads import Progress, in_threads
from convwright.display.result import Block, Lines, Result, Table
from convwright.display.wording import counted
from convwright.errors import ArgumentError, DataError
from convwright.files import write_text
from convwright.places import check_file
from convwright.printable import printable

ROLES = {2: ("train", "test"), 3: ("train", "val", "test")}
"""Splits by the number of shares."""
MOST_CLASSES = 40
"""Most classes that text shows."""


class SplitImage(NamedTuple):
    """An image of a split."""

    path: Path
    labels: tuple[str, ...]
    split: str
    group: str
    """Images of one group are in one split; empty for an image that is alone."""
    weight: float = 1.0


@dataclass(frozen=True)
class DataSplit(Result, Brief):
    """Images split into training, validation and test images."""

    name: str
    """The folder or list."""
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    images: tuple[SplitImage, ...] = field(repr=False)
    seed: int
    duplicates: int
    """Exact duplicates and near-duplicates of another image, which are in the split of that image."""
    multi_label: bool = False
    weighted: bool = False
    unreadable: tuple[str, ...] = field(default=(), repr=False)
    """One line for each file that was left out, and why."""
    skipped: tuple[SkippedFiles, ...] = ()
    """Files that are not used as images, counted by suffix and reason."""
    out: Path | None = None
    """The list that was written."""

    @property
    def counts(self) -> dict[str, list[int]]:
        """Images by split and class."""
        found = Counter((image.split, label) for image in self.images for label in image.labels)
        return {split: [found[split, name] for name in self.classes] for split in self.splits}

    def to_csv(self, folder: Path) -> str:
        """Return the images as a list for `data`, with paths relative to a folder.

        Args:
            folder: The folder that the list is written to.

        Raises:
            DataError: A class has a name that cannot stand in a list.
        """
        titles = ["path", "label", "split", "group", *(["weight"] if self.weighted else [])]
        rows: list[list[object]] = [list(titles)]
        for image in self.images:
            path = Path(os.path.relpath(image.path.absolute(), folder.absolute())).as_posix()
            weight = [f"{image.weight:.9g}"] if self.weighted else []
            rows.append([path, self._label(image), image.split, image.group, *weight])
        return csv_table(rows)

    def save(self, path: str | Path) -> Path:
        """Write the images as a list that `data` reads.

        Args:
            path: The file, named .csv; it is replaced if it exists.

        Returns:
            The file.
        """
        write_text(Path(path), self.to_csv(Path(path).parent))
        return Path(path)

    def to_dict(self) -> dict[str, object]:
        """Return counts by split and class, groups, duplicates and what was left out."""
        return {
            "data": self.name,
            "out": None if self.out is None else str(self.out),
            "images": len(self.images),
            "classes": list(self.classes),
            "counts": self.counts,
            "seed": self.seed,
            "groups": len({image.group for image in self.images if image.group}),
            "duplicates": self.duplicates,
            "unreadable": list(self.unreadable),
            "skipped": [asdict(each) for each in self.skipped],
        }

    def blocks(self) -> Iterable[Block]:
        """Yield counts by split and class, and what there is to know."""
        totals = Counter(image.split for image in self.images)
        shown = ", ".join(f"{totals[split]:,} {split}" for split in self.splits)
        yield Lines(f"{printable(self.name)}: {counted(len(self.images), 'image')} split into {shown}")
        counts = self.counts
        rows = [
            (name, *(f"{counts[split][place]:,}" for split in self.splits), "")
            for place, name in enumerate(self.classes[:MOST_CLASSES])
        ]
        yield Table(("class", *self.splits, ""), rows)
        if len(self.classes) > MOST_CLASSES:
            yield Lines(f"and {len(self.classes) - MOST_CLASSES:,} more classes (JSON has all)")
        yield Lines("\n".join(self._notes()))

    def _notes(self) -> Iterator[str]:
        groups = Counter(image.group for image in self.images if image.group)
        yield f"seed {self.seed}; {counted(len(groups), 'group')} of images that stay together"
        if self.duplicates:
            yield f"{counted(self.duplicates, 'image')} with an exact duplicate or near-duplicate in the same split"
        for split, counts in self.counts.items():
            if absent := [printable(name) for name, count in zip(self.classes, counts, strict=True) if not count]:
                yield f"{split} has no images of {', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}"
        if self.unreadable:
            yield f"{counted(len(self.unreadable), 'file')} left out; the first is {self.unreadable[0]}"
        if self.out is not None:
            yield f"list: {printable(self.out)}"

    def _label(self, image: SplitImage) -> str:
        if self.multi_label:
            return json_text.dump(list(image.labels))
        (label,) = image.labels
        if JOINED.search(label) or (label.startswith("[") and label.endswith("]")):
            raise DataError(
                f"the class {printable(label)!r} cannot stand in a list, where | and ; join labels; rename it"
            )
        return label


def split_data(
    spec: str,
    shares: Sequence[float],
    *,
    seed: int = 0,
    group: str | None = None,
    pattern: str | None = None,
    columns: Mapping[str, str | None] = NO_COLUMNS,
    progress: Progress | None = None,
) -> DataSplit:
    """Split a folder or a list of images.

    Args:
        spec: The folder or list.
        shares: Two shares, of training and test images, or three, of training, validation and test images.
        seed: Seed of the split.
        group: Column of a list whose equal values stay in one split.
        pattern: Regular expression for paths; images stay together whose paths have the same text in its first capture
            group, or in the whole match if there is no capture group.
        columns: Columns of a list, by the names of the fields of `Data`.
        progress: Called with the number of images done, their total and a description.

    Raises:
        DataError: There is no such data, or a split would have no images.
        ArgumentError: The data is split already, or the expression is wrong.
    """
    parts = [(role, share) for role, share in zip(ROLES[len(shares)], shares, strict=True) if share]
    expression = _expression(pattern)
    if spec in SOURCES:
        raise ArgumentError(
            "data", f"{spec} is a built-in data set and not made of files; give a folder or a list of images"
        )
    found = _found(spec, columns, group)
    if not isinstance(found, Found):
        raise ArgumentError(
            "data", f"{printable(spec)} names images of a built-in data set; give a folder or a list of files"
        )
    if found.splits.keys() != {"train"}:
        shown = " and ".join(found.splits)
        raise ArgumentError("data", f"{printable(spec)} is split into {shown} already; give the images of one split")
    paths = found.paths
    likenesses, unreadable = _read(found, paths, progress)
    files = found.splits["train"]
    if len(files.names) < 2:
        raise DataError(f"{found.shown} has {counted(len(files.names), 'readable image')}, which cannot be split")
    names, duplicates = _groups(found, expression, likenesses)
    labels = files.label_sets()
    assigned = assign_parts(_as_tensor(labels, found), [share for _, share in parts], seed, "split", names).tolist()
    present = set(assigned)
    if empty := [role for number, (role, _) in enumerate(parts) if number not in present]:
        raise DataError(
            f"{found.shown}: the split {empty[0]} would have no images, as there are too few groups of images; "
            "give fewer splits, or smaller groups"
        )
    classes = tuple(map(printable, found.classes))
    weights = files.weights or [1.0] * len(names)
    images = tuple(
        SplitImage(image, tuple(found.classes[label] for label in several), parts[part][0], name, weight)
        for image, several, part, name, weight in zip(files.paths, labels, assigned, names, weights, strict=True)
    )
    return DataSplit(
        spec,
        classes,
        tuple(role for role, _ in parts),
        images,
        seed,
        duplicates,
        found.multi_label,
        files.weights is not None,
        (*found.skipped, *unreadable),
        found.files.counts(),
    )


def check_out(out: Path | None, spec: str) -> None:
    """Check that a list can be written.

    Raises:
        ArgumentError: It is not named .csv, is the data itself, or cannot be written.
    """
    if out is None:
        return
    if out.suffix.lower() != ".csv":
        raise ArgumentError("out", f"{printable(out)}: the list is CSV; name a file that ends in .csv")
    check_file("out", out)
    if out.exists() and Path(spec).expanduser().exists() and out.samefile(Path(spec).expanduser()):
        raise ArgumentError("out", f"{printable(out)} is the data, which would be replaced; name another file")


def _found(spec: str, columns: Mapping[str, str | None], group: str | None) -> Found | ImageList:
    with existing(spec) as path, quiet():
        if group is not None and path.is_dir():
            raise ArgumentError("group", f"{printable(spec)} is a folder, which has no columns; use `pattern`")
        try:
            return find_in(path, {**columns, **({} if group is None else {"group_column": group})})
        except ArgumentError as error:
            if error.argument == "group_column" and group is not None:
                raise ArgumentError("group", error.reason) from None
            raise


def _expression(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ArgumentError("pattern", f"{pattern!r} is no regular expression: {error}") from None


def _read(found: Found, paths: list[Path], progress: Progress | None) -> tuple[list[Likeness], list[str]]:
    """Return what shows whether images are the same, and why files cannot be read; these are removed."""
    with quiet():
        headers = list(in_threads(_header, paths, progress, "reading headers"))
        framing = framing_for(header for header in headers if isinstance(header, Header))

        def work(item: tuple[Path, Header | str]) -> Likeness | str:
            return _likeness(*item, framing)

        pairs = list(zip(paths, headers, strict=True))
        results = list(in_threads(work, pairs, progress, "comparing images"))
    files = found.splits["train"]
    unreadable = []
    for position, (path, result) in enumerate(zip(paths, results, strict=True)):
        if isinstance(result, str):
            line = "" if files.lines is None else f"line {files.lines[position]}: "
            unreadable.append(f"{line}{printable(files.names[position])}: {result}")
            found.files.add(str(path), UNREADABLE)
    files.keep([position for position, result in enumerate(results) if isinstance(result, Likeness)])
    return [result for result in results if isinstance(result, Likeness)], unreadable


def _header(path: Path) -> Header | str:
    try:
        return read_header(path)
    except Exception as error:  # Pillow raises nearly anything on damaged files
        return reason_of(path, error)


def _likeness(path: Path, header: Header | str, framing: Framing) -> Likeness | str:
    if isinstance(header, str):
        return header
    try:
        return likeness_of(path, header, framing)
    except Exception as error:
        return reason_of(path, error)


def _groups(found: Found, expression: re.Pattern[str] | None, likenesses: list[Likeness]) -> tuple[list[str], int]:
    """Return the name of the group of each image, empty for one that is alone, and the number of duplicates."""
    files = found.splits["train"]
    clusters, alike = Clusters(len(files.names)), Clusters(len(files.names))
    given = [""] * len(files.names)
    for number, (name, likeness) in enumerate(zip(files.names, likenesses, strict=True)):
        shared: list[tuple[str, object]] = [("pixels", likeness.pixels)]
        if files.groups is not None and files.groups[number]:
            given[number] = files.groups[number]
            shared.append(("group", files.groups[number]))
        if expression is not None and (match := expression.search(Path(name).as_posix())):
            key = match[1] if match.re.groups and match[1] is not None else match[0]
            given[number] = given[number] or key
            shared.append(("pattern", key))
        alike.join(number, [likeness.pixels])
        clusters.join(number, shared)
    alike.join_alike(np.stack([likeness.thumbnail for likeness in likenesses]))
    if expression is not None and not any(given):
        raise ArgumentError("pattern", f"{expression.pattern!r} matches no path, such as {printable(files.names[0])}")
    for number in range(len(files.names)):
        clusters.join(number, [("alike", alike.first_of(number))])
    names = []
    for number, size in enumerate(clusters.sizes()):
        first = clusters.first_of(number)
        names.append((given[first] or printable(files.names[first])) if size > 1 else "")
    return names, sum(alike.first_of(number) != number for number in range(len(names)))


def _as_tensor(labels: list[tuple[int, ...]], found: Found) -> torch.Tensor:
    if not found.multi_label:
        return torch.tensor([label for (label,) in labels], dtype=torch.int64)
    several = torch.zeros(len(labels), len(found.classes), dtype=torch.bool)
    for row, each in enumerate(labels):
        several[row, list(each)] = True
    return several

"""Images split into training, validation and test images: a new list."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convwright import json_text
from convwright.brief import Brief
from convwright.csv_text import csv_table
from convwright.data.joined_labels import JOINED
from convwright.data.likeness import Clusters
from convwright.data.skipped import SkippedFiles
from convwright.data.sources import NO_COLUMNS
from convwright.data.split import assign_parts
from convwright.data.split_pool import Pool, pool_of
from convwright.data.threads import Progress
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


class TooFewGroupsError(DataError):
    """Images whose groups are too few for the splits.

    Args:
        text: What is wrong, and what would be right.
        duplicates: Images that are duplicates or near-duplicates of others.
    """

    def __init__(self, text: str, duplicates: int) -> None:
        super().__init__(text)
        self.duplicates = duplicates


class SplitImage(NamedTuple):
    """An image of a split."""

    path: Path
    """The file; or an image of a built-in data set, such as digits:train/0."""
    labels: tuple[str, ...]
    split: str
    group: str
    """Images of one group are in one split; empty for an image that is alone."""
    weight: float = 1.0


@dataclass(frozen=True)
class DataSplit(Result, Brief):
    """Images split into training, validation and test images."""

    name: str
    """The folder, list or built-in data set."""
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
    source: str = ""
    """The built-in data set that the images are of; empty for files."""

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
            own = image.path if self.source else Path(os.path.relpath(image.path.absolute(), folder.absolute()))
            path = own.as_posix()
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
    """Split a folder, a list of images, or all images of a built-in data set.

    Args:
        spec: The folder, list or built-in data set.
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
    pool = pool_of(spec, columns, group, progress)
    if len(pool.names) < 2:
        raise DataError(f"{pool.shown} has {counted(len(pool.names), 'readable image')}, which cannot be split")
    names, duplicates = _groups(pool, expression)
    assigned = assign_parts(pool.label_tensor(), [share for _, share in parts], seed, "split", names).tolist()
    present = set(assigned)
    if empty := [role for number, (role, _) in enumerate(parts) if number not in present]:
        alike = f"{duplicates:,} of {counted(len(names), 'image')} are duplicates or near-duplicates of others"
        together = f": {alike}, which stay in one split" if duplicates else ""
        raise TooFewGroupsError(
            f"{pool.shown}: the split {empty[0]} would have no images, as there are too few groups of images"
            f"{together}; give fewer splits, or smaller groups",
            duplicates,
        )
    weights = pool.weights or [1.0] * len(names)
    images = tuple(
        SplitImage(path, tuple(pool.classes[label] for label in labels), parts[part][0], name, weight)
        for path, labels, part, name, weight in zip(pool.paths, pool.labels, assigned, names, weights, strict=True)
    )
    return DataSplit(
        spec,
        tuple(map(printable, pool.classes)),
        tuple(role for role, _ in parts),
        images,
        seed,
        duplicates,
        pool.multi_label,
        pool.weights is not None,
        pool.left_out,
        pool.skipped,
        source=pool.source,
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


def _expression(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ArgumentError("pattern", f"{pattern!r} is no regular expression: {error}") from None


def _groups(pool: Pool, expression: re.Pattern[str] | None) -> tuple[list[str], int]:
    """Return the name of the group of each image, empty for one that is alone, and the number of duplicates."""
    clusters, alike = Clusters(len(pool.names)), Clusters(len(pool.names))
    given = [""] * len(pool.names)
    for number, (name, likeness) in enumerate(zip(pool.names, pool.likenesses, strict=True)):
        shared: list[tuple[str, object]] = [("pixels", likeness.pixels)]
        if pool.groups is not None and pool.groups[number]:
            given[number] = pool.groups[number]
            shared.append(("group", pool.groups[number]))
        if expression is not None and (match := expression.search(Path(name).as_posix())):
            key = match[1] if match.re.groups and match[1] is not None else match[0]
            given[number] = given[number] or key
            shared.append(("pattern", key))
        alike.join(number, [likeness.pixels])
        clusters.join(number, shared)
    alike.join_alike(np.stack([likeness.thumbnail for likeness in pool.likenesses]))
    if expression is not None and not any(given):
        raise ArgumentError("pattern", f"{expression.pattern!r} matches no path, such as {printable(pool.names[0])}")
    for number in range(len(pool.names)):
        clusters.join(number, [("alike", alike.first_of(number))])
    names = []
    for number, size in enumerate(clusters.sizes()):
        first = clusters.first_of(number)
        names.append((given[first] or printable(pool.names[first])) if size > 1 else "")
    return names, sum(alike.first_of(number) != number for number in range(len(names)))

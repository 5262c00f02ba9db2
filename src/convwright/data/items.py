"""Images that are found by number: files of a folder, or parts of larger files. Without torch."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from convwright.data.images import ImageFile, reason
from convwright.data.packed_names import PackedNames
from convwright.data.skipped import SkippedCounter

MISSING = np.uint64(0)
"""Stamp of a missing item."""
_FIRST = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Start and factors of digests, from splitmix64."""
_BITS = 2**64 - 1


class FileRange(NamedTuple):
    """Range of bytes of a larger file, which are one encoded image."""

    path: str
    start: int
    size: int


Reference = str | FileRange | bytes
"""Where an image is: a file, a part of one, or the encoded image itself."""


class Items(Protocol):
    """Images that are found by number."""

    @property
    def identity(self) -> str:
        """Text that names this collection in the cache; the collection may change, its items then have new stamps."""

    @property
    def names(self) -> PackedNames:
        """Names of the items, each once."""

    @property
    def stamps(self) -> np.ndarray:
        """uint64 N: digests of size and times, which change when an item does; `MISSING` if there is no such file."""

    def reference(self, number: int) -> Reference:
        """Return where an item is."""

    def stamp_now(self, number: int) -> int:
        """Return the stamp that an item has at this moment."""

    def stamps_now(self, numbers: np.ndarray) -> np.ndarray:
        """Return the stamps that some items have at this moment, uint64 N.

        Args:
            numbers: int64 N.
        """


class FileItems:
    """Files below one folder.

    Args:
        root: The folder.
        names: Paths of the files, relative to the folder.
    """

    def __init__(self, root: str, names: PackedNames) -> None:
        self.root, self.names = root, names
        self._prefix = f"{root}{os.sep}" if root else ""

    @property
    def identity(self) -> str:
        """The folder without links."""
        return os.path.realpath(self.root)

    @cached_property
    def stamps(self) -> np.ndarray:
        """uint64 N: digests of size, times and inode."""
        return stamps_of(self.names, self.root)

    def reference(self, number: int) -> str:
        """Return the path of a file."""
        return self._prefix + self.names[number]

    def stamp_now(self, number: int) -> int:
        """Return the stamp that a file has at this moment."""
        return stamp_of(self.reference(number))

    def stamps_now(self, numbers: np.ndarray) -> np.ndarray:
        """Return the stamps that some files have at this moment, uint64 N.

        Args:
            numbers: int64 N.
        """
        return stamps_of(self.names.choose(numbers), self.root)


@dataclass
class ItemSplit:
    """Items of one split, with their labels."""

    numbers: np.ndarray
    """int64 N, ascending or not."""
    labels: np.ndarray
    """int64 N, or bool N x classes."""
    weights: np.ndarray | None = None
    """float32 N."""
    groups: PackedNames | None = None

    def label_sets(self) -> list[tuple[int, ...]]:
        """Return the labels of each image."""
        if self.labels.ndim == 1:
            return [(label,) for label in self.labels.tolist()]
        return [tuple(np.flatnonzero(row).tolist()) for row in self.labels]

    def kept(self, good: np.ndarray) -> "ItemSplit":
        """Return the split without the items that are not good.

        Args:
            good: bool, by number of the item.
        """
        mask = good[self.numbers]
        weights = None if self.weights is None else self.weights[mask]
        groups = self.groups and self.groups.choose(np.flatnonzero(mask))
        return ItemSplit(self.numbers[mask], self.labels[mask], weights, groups)


@dataclass
class LabelledItems:
    """Items in splits, with the names of the classes, before any image is opened."""

    name: str
    """What the user calls the data."""
    items: Items
    classes: tuple[str, ...]
    splits: dict[str, ItemSplit]
    """By role; `train` is always among them."""
    skipped: list[str] = field(default_factory=list)
    """One line for each file or folder that was left out, and why."""
    files: SkippedCounter = field(default_factory=SkippedCounter)
    """Counts of files that are not used."""
    lines: Sequence[int] | None = None
    """Line of each item in its list; None: they are not from a list."""
    hint: str = ""
    """What may be wrong where there are no images at all."""


def opened(reference: Reference) -> ImageFile:
    """Return what an image is read from.

    Raises:
        OSError: The file cannot be read, or ends before the image does.
    """
    if isinstance(reference, str):
        return reference
    if isinstance(reference, FileRange):
        with open(reference.path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes as long as the reading
            file.seek(reference.start)
            content = file.read(reference.size)
        if len(content) < reference.size:
            raise OSError("the archive ends before the image does")
        return io.BytesIO(content)
    return io.BytesIO(reference)


def reason_of_item(items: Items, number: int, error: Exception) -> str:
    """Return in a few words why an image could not be read."""
    if isinstance(error, FileNotFoundError):
        reference = items.reference(number)
        if isinstance(reference, str) and os.path.islink(reference):  # noqa: PTH114
            return "a broken link"
    return reason(error)


def row_digests(*columns: np.ndarray) -> np.ndarray:
    """Return a digest of each row of a table of integer columns, uint64, never `MISSING`."""
    digest = np.full(len(columns[0]), _FIRST, np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:  # the finaliser of splitmix64, by column
            digest += column.astype(np.int64).view(np.uint64)
            digest ^= digest >> np.uint64(30)
            digest *= np.uint64(_FACTORS[0])
            digest ^= digest >> np.uint64(27)
            digest *= np.uint64(_FACTORS[1])
            digest ^= digest >> np.uint64(31)
    digest[digest == MISSING] += np.uint64(1)
    return digest


def row_digest(row: Sequence[int]) -> int:
    """Return what `row_digests` gives for one row, without the cost of arrays for a single one."""
    digest = _FIRST
    for value in row:
        digest = (digest + value) & _BITS
        digest ^= digest >> 30
        digest = digest * _FACTORS[0] & _BITS
        digest ^= digest >> 27
        digest = digest * _FACTORS[1] & _BITS
        digest ^= digest >> 31
    return digest + 1 if digest == MISSING else digest


def stamp_of(path: str) -> int:
    """Return the stamp of a file."""
    values = _values_of(path)
    return int(MISSING) if values is None else row_digest(values)


def _values_of(path: str) -> tuple[int, int, int, int] | None:
    """Return what changes when a file does: size, times and inode; None where there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path takes longer than the system call
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & 2**62 - 1


def stamps_of(paths: PackedNames, root: str = "") -> np.ndarray:
    """Return the stamps of files.

    Args:
        paths: Their paths.
        root: Folder that they are relative to.
    """
    values = np.zeros((len(paths), 4), np.int64)
    found = np.ones(len(paths), bool)
    prefix = f"{root}{os.sep}" if root else ""
    for number, path in enumerate(paths):
        row = _values_of(prefix + path)
        if row is None:
            found[number] = False
        else:
            values[number] = row
    stamps = row_digests(*values.T)
    stamps[~found] = MISSING
    return stamps

"""Images in tar files of WebDataset's convention, read at random through an index of where each of them is."""

import os
from collections import Counter
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np

from convwright.data.items import FileRange, ItemSplit, LabelledItems, row_digest, row_digests, stamp_of, stamps_of
from convwright.data.packed_names import PackedNames
from convwright.data.shard_index import ShardIndex, index_of, json_keys
from convwright.data.shard_paths import roles_of, shard_paths
from convwright.data.skipped import NOT_AN_IMAGE, SkippedCounter
from convwright.data.threads import Progress
from convwright.display.wording import counted, listed
from convwright.errors import DataError
from convwright.printable import printable

MOST_KEYS = 10
"""Members of a JSON file that a message names."""


class ShardItems:
    """Images in tar files.

    Args:
        root: Folder that all files are in.
        paths: The files, relative to the folder.
        indices: The images of each file.
        shard_stamps: Stamp of each file, uint64.
    """

    def __init__(self, root: Path, paths: list[str], indices: list[ShardIndex], shard_stamps: np.ndarray) -> None:
        self.root, self.paths, self._shard_stamps = root, paths, shard_stamps
        self._shards = np.repeat(np.arange(len(indices), dtype=np.int32), [len(each.names) for each in indices])
        self._starts = np.concatenate([each.starts for each in indices])
        self._sizes = np.concatenate([each.sizes for each in indices])
        self.names = PackedNames(
            f"{path}/{name}" for path, index in zip(paths, indices, strict=True) for name in index.names
        )

    @cached_property
    def identity(self) -> str:
        """The folder without links, and which of its files are used."""
        listed = blake2b("\0".join(self.paths).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return f"{os.path.realpath(self.root)} {listed}"

    @cached_property
    def stamps(self) -> np.ndarray:
        """uint64 N: digests of the stamp of the file, and the place of the image in it."""
        return row_digests(self._shard_stamps[self._shards], self._starts, self._sizes)

    def reference(self, number: int) -> FileRange:
        """Return the file, start and size of an image."""
        path = os.path.join(self.root, self.paths[self._shards[number]])  # noqa: PTH118
        return FileRange(path, int(self._starts[number]), int(self._sizes[number]))

    def stamp_now(self, number: int) -> int:
        """Return the stamp that an image has at this moment."""
        shard = int(self._shards[number])
        whole = stamp_of(os.path.join(self.root, self.paths[shard]))  # noqa: PTH118
        return row_digest((whole, int(self._starts[number]), int(self._sizes[number])))

    def stamps_now(self, numbers: np.ndarray) -> np.ndarray:
        """Return the stamps that some images have at this moment, uint64 N.

        Args:
            numbers: int64 N.
        """
        shards, places = np.unique(self._shards[numbers], return_inverse=True)
        whole = stamps_of(PackedNames(self.paths[shard] for shard in shards), str(self.root))
        return row_digests(whole[places], self._starts[numbers], self._sizes[numbers])


def open_shards(
    spec: str,
    label_column: str | None = None,
    *,
    training: bool = True,
    keep: bool = True,
    progress: Progress | None = None,
) -> LabelledItems:
    """Return the images of tar files, with labels.

    Args:
        spec: A pattern such as `shards/{000000..000146}.tar`, or a folder of tar files.
        label_column: Member of JSON files with the label; None: found by its name.
        training: Whether the images are to train on, so that there must be a split `train`.
        keep: Whether the indices are kept on disk.
        progress: Called with the number of files read, their total and a description.

    Raises:
        DataError: A file is missing or damaged, or images have no labels.
    """
    paths = shard_paths(spec)
    roles = roles_of(paths)
    root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    names = [os.path.relpath(path.absolute(), root) for path in paths]
    stamps = stamps_of(PackedNames(map(str, paths)))
    indices = []
    for number, (path, stamp) in enumerate(zip(paths, stamps.tolist(), strict=True), 1):
        indices.append(index_of(path, stamp, label_column, keep=keep))
        if progress is not None:
            progress(number, len(paths), "indexing shards")
    if not any(len(index.names) for index in indices):
        raise DataError(f"{printable(spec)}: there are no images in {counted(len(paths), 'file')}")
    items = ShardItems(root, names, indices, stamps)
    if not any(label is not None for index in indices for label in index.labels):
        indices = [_labelled_by_folder(index) for index in indices]
    _check_labels(spec, paths, names, indices)
    classes, labels = _labels(indices)
    positions = np.concatenate(
        [np.full(len(index.names), _ORDER.index(role)) for role, index in _pairs(roles, indices)]
    )
    splits = {}
    for position, role in enumerate(_ORDER):
        numbers = np.flatnonzero(positions == position)
        if role in roles:
            splits[role] = ItemSplit(numbers, labels[numbers])
    if training and "train" not in splits:
        raise DataError(f"{printable(spec)} has files of the split {' and '.join(splits)} but none of the split train")
    return LabelledItems(spec, items, classes, splits, files=_others(indices))


_ORDER = ("train", "val", "test")


def _pairs(roles: list[str], indices: list[ShardIndex]) -> list[tuple[str, ShardIndex]]:
    return list(zip(roles, indices, strict=True))


def _labels(indices: list[ShardIndex]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the classes, and the label of each image: int64 N, or bool N x classes."""
    different = {name for index in indices for label in index.labels for name in label or ()}
    numeric = all(name.isdecimal() for name in different)
    classes = tuple(sorted(different, key=int) if numeric else sorted(different))
    numbers = {name: number for number, name in enumerate(classes)}
    if not any(index.several for index in indices):
        tables = [np.array([numbers[label[0]] for label in index.labels if label], np.int64) for index in indices]
        return classes, np.concatenate([table[index.codes] for table, index in zip(tables, indices, strict=True)])
    rows = []
    for index in indices:
        table = np.zeros((len(index.labels), len(classes)), bool)
        for row, label in enumerate(index.labels):
            table[row, [numbers[name] for name in label or ()]] = True
        rows.append(table[index.codes])
    return classes, np.concatenate(rows)


def _check_labels(spec: str, paths: list[Path], names: list[str], indices: list[ShardIndex]) -> None:
    """Refuse images without a label."""
    without, example, hint = 0, "", ""
    for path, name, index in zip(paths, names, indices, strict=True):
        if None in index.labels:
            places = np.flatnonzero(index.codes == index.labels.index(None))
            without += len(places)
            if not example:
                image = index.names[int(places[0])]
                example, hint = f"{name}/{image}", _hint_at_label(path, image)
    total = sum(len(index.names) for index in indices)
    if without:
        raise DataError(
            f"{printable(spec)}: {without:,} of {counted(total, 'image')} have no label, such as {printable(example)}; "
            + hint
        )
    counts = Counter(label for index in indices for label in index.labels)
    if len(counts) == total > 1:
        raise DataError(f"{printable(spec)}: every image has a label of its own; labels must be names of classes")


def _hint_at_label(path: Path, image: str) -> str:
    """Return where the label of an image may be, or what would be one."""
    if keys := json_keys(path, image):
        shown = listed(map(printable, keys[:MOST_KEYS])) + " and others" * (len(keys) > MOST_KEYS)
        return f"its .json has {shown}; name the one with the label with `label_column`"
    return "a label is a member with the image's name and .cls, .txt, or .json with `label`"


def _labelled_by_folder(index: ShardIndex) -> ShardIndex:
    """Return an index whose labels are the folders of the images inside of the tar file."""
    folders = [name.rpartition("/")[0].rpartition("/")[2] for name in index.names]
    places = {folder: place for place, folder in enumerate(dict.fromkeys(folders))}
    labels = tuple((folder,) if folder not in ("", ".") else None for folder in places)
    codes = np.array([places[folder] for folder in folders], np.int32)
    return ShardIndex(index.names, index.starts, index.sizes, labels, codes, several=False, others=index.others)


def _others(indices: list[ShardIndex]) -> SkippedCounter:
    counter = SkippedCounter()
    for index in indices:
        for suffix, count in index.others.items():
            counter.add(f"a{suffix}", NOT_AN_IMAGE, count)
    return counter

"""Data from image files: those of a folder with a sub-folder for each class, or of a list."""

import numpy as np

from convwright.arch.resolution import Resolution
from convwright.data.cache import Cache
from convwright.data.dataset import Parts
from convwright.data.framing import Framing
from convwright.data.items import FileItems, ItemSplit, LabelledItems
from convwright.data.layout import LAYOUT, Found, SplitFiles
from convwright.data.packed_names import PackedNames
from convwright.data.reading import UnreadableFilesError as UnreadableFilesError
from convwright.data.reading import read_items
from convwright.data.threads import Progress


def read_files(
    found: Found,
    resolution: Resolution | None,
    largest: int,
    framing: Framing = Framing(),
    *,
    cache: Cache | None = None,
    max_bad: float = 1.0,
    training: bool = True,
    progress: Progress | None = None,
) -> Parts:
    """Return the images of a folder or a list; see `read_items`."""
    data = labelled_files(found)
    return read_items(
        data, resolution, largest, framing, cache=cache, max_bad=max_bad, training=training, progress=progress
    )


def labelled_files(found: Found) -> LabelledItems:
    """Return image files as numbered items."""
    names = PackedNames(file for split in found.splits.values() for file in split.names)
    splits, start = {}, 0
    for role, files in found.splits.items():
        splits[role] = _item_split(files, start, len(found.classes), multi_label=found.multi_label)
        start += len(files.names)
    given = [files.lines for files in found.splits.values() if files.lines is not None]
    return LabelledItems(
        found.name or str(found.root),
        FileItems(str(found.root), names),
        tuple(found.classes),
        splits,
        list(found.skipped),
        found.files,
        [line for lines in given for line in lines] if given else None,
        LAYOUT,
    )


def _item_split(files: SplitFiles, start: int, classes: int, *, multi_label: bool) -> ItemSplit:
    count = len(files.names)
    numbers = np.arange(start, start + count)
    weights = None if files.weights is None else np.array(files.weights, np.float32)
    groups = None if files.groups is None else PackedNames(files.groups)
    if not multi_label:
        return ItemSplit(numbers, np.array(files.labels, np.int64), weights, groups)
    labels = np.zeros((count, classes), bool)
    for row, each in enumerate(files.label_sets()):
        labels[row, list(each)] = True
    return ItemSplit(numbers, labels, weights, groups)

"""Data from image files: those of a folder with a sub-folder for each class, or of a list."""

import numpy as np

from convwright.data.items import FileItems, ItemSplit, LabelledItems
from convwright.data.layout import LAYOUT, Found, SplitFiles
from convwright.data.packed_names import PackedNames


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

"""Folds of the training and validation images for cross-validation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from convwright.data.dataset import Split, Traits
from convwright.data.split import assign_parts
from convwright.display.wording import counted
from convwright.errors import ArgumentError, DataError
from convwright.printable import printable


def split_fold(pool: Split, folds: int, fold: int, seed: int, classes: tuple[str, ...]) -> tuple[Split, Split]:
    """Return the images to train on and those to validate on, which are one of several folds.

    Each class is distributed evenly over the folds. All images of one group are in the same fold, and so are images
    with equal pixels.

    Args:
        pool: All images of the cross-validation.
        folds: Number of folds.
        fold: The fold to validate on, from 1.
        seed: Seed of the folds.
        classes: Names of the classes.

    Raises:
        DataError: There are too few images or groups.
    """
    if not 1 <= fold <= folds:
        raise ArgumentError("fold", f"must be 1 to {folds}, the number of folds, not {fold}")
    groups = joined_groups(pool.traits().digests.numpy(), pool.groups)
    fold_of = assign_parts(pool.labels, [1 / folds] * folds, seed, "folds", groups)
    kept, held = torch.nonzero(fold_of != fold - 1).flatten(), torch.nonzero(fold_of == fold - 1).flatten()
    if not len(held):
        what = "images" if groups is None else "different images" if pool.groups is None else "groups of images"
        raise ArgumentError("folds", _empty_fold_message(groups or [""] * len(pool), what, folds, fold))
    train = pool.choose(kept)
    seen = {label for labels in train.label_sets() for label in labels}
    if absent := [name for number, name in enumerate(classes) if number not in seen]:
        count = counted(sum(absent[0] == classes[label] for row in pool.label_sets() for label in row), "image")
        raise DataError(
            f"fold {fold} leaves no images of {printable(absent[0])} to train on, which has {count}"
            f"{'' if groups is None else ' in too few groups'}; add images, or remove the class"
        )
    return train, pool.choose(held)


def joined_groups(digests: np.ndarray, groups: Sequence[str] | None) -> list[str] | None:
    """Return the group of each image where images with equal pixels are in one group, with the groups of both.

    Args:
        digests: Digest of the pixels of each image, N x 16, uint8.
        groups: Group of each image, empty for images of no group; None: there are no groups.

    Returns:
        The groups, empty for images of no group; None where there are none and all images differ.
    """
    image_of = _numbered(digests)
    copied = np.bincount(image_of)[image_of] > 1
    if not copied.any():
        return None if groups is None else list(groups)
    names = [""] * len(digests) if groups is None else list(groups)
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = name = parent[above]
        return name

    first: dict[int, str] = {}
    for row in np.flatnonzero(copied).tolist():
        image = int(image_of[row])
        names[row] = names[row] or first.get(image) or f"\0{image}"
        parent[root(names[row])] = root(first.setdefault(image, names[row]))
    return [name and root(name) for name in names]


def count_duplicates(digests: np.ndarray) -> int:
    """Return the number of images with the same pixels as an earlier image.

    Args:
        digests: Digest of the pixels of each image, N x 16, uint8.
    """
    return len(digests) - 1 - int(_numbered(digests).max(initial=-1))


def _numbered(digests: np.ndarray) -> np.ndarray:
    """Return a number for each digest, the same for equal ones, from 0."""
    halves = np.ascontiguousarray(digests).view(np.uint64).reshape(len(digests), digests.shape[1] // 8)
    order = np.lexsort(halves.T)
    ordered = halves[order]
    numbers = np.zeros(len(digests), np.int64)
    if len(order):
        numbers[order[1:]] = np.cumsum((ordered[1:] != ordered[:-1]).any(1))
    return numbers


def _empty_fold_message(groups: Sequence[str], what: str, folds: int, fold: int) -> str:
    """Return why a fold has no images."""
    count = len(set(filter(None, groups))) + sum(
        not group for group in groups
    )  # an image of no group is one of its own
    if folds > count:
        return f"must be at most the number of {what} ({count:,}), not {folds:,}"
    return f"fold {fold} of {folds} would have no images, as {what} differ too much in size or class; use fewer folds"


def joined(train: Split, val: Split) -> Split:
    """Return the images of two splits as one.

    Raises:
        DataError: They are in stores of their own that are not in memory.
    """
    stores = train.store, val.store
    if train.store is val.store and train.rows is not None and val.rows is not None:
        store, rows = train.store, torch.cat([train.rows, val.rows])
    elif all(isinstance(store, torch.Tensor) for store in stores):
        store, rows = torch.cat([train.images, val.images]), None
    else:
        raise DataError("the training and validation images are in different places; put them into one split for folds")
    one, other = train.traits(), val.traits()
    both = (train, val)
    weights = None
    if any(split.weights is not None for split in both):
        weights = torch.cat([torch.ones(len(split)) if split.weights is None else split.weights for split in both])
    return replace(
        train,
        store=store,
        labels=torch.cat([train.labels, val.labels]),
        rows=rows,
        known=Traits(torch.cat([one.digests, other.digests]), torch.cat([one.moments, other.moments])),
        names=None if train.names is None or val.names is None else (*train.names, *val.names),
        weights=weights,
        groups=None if train.groups is None or val.groups is None else (*train.groups, *val.groups),
    )

"""The validation images: those of the data, a share that is held out of the training images, or a fold."""

from dataclasses import dataclass

import torch

from convwright.data.dataset import Parts, Split
from convwright.data.folds import count_duplicates, joined, joined_groups, split_fold
from convwright.data.framing import Duplicates
from convwright.data.split import held_out_rows
from convwright.errors import DataError, warn

COPIES_APART = (
    "exact duplicates are both in the training and in the validation images, as nothing else could be held out; the "
    "validation accuracy says little about new images"
)


@dataclass(frozen=True)
class Holdout:
    """How validation images are chosen from the training images."""

    share: float = 0.1
    """Share of the training images that is held out where the data has no validation images."""
    seed: int = 0
    """Seed of that share, or of the folds."""
    duplicates: Duplicates = "together"
    """Images with equal pixels in that share: `together`, on the same side, or `apart`, as drawn."""
    folds: int | None = None
    """Folds into which training and validation images are split together; None: none."""
    fold: int | None = None
    """The fold to validate on, from 1."""


@dataclass(frozen=True)
class Divided:
    """Training and validation images."""

    train: Split
    val: Split
    held_out: bool
    """Whether `val` was chosen here."""
    duplicates: int = 0
    """Images with the pixels of another one that were kept on its side."""


def divide(data: Parts, holdout: Holdout, *, training: bool) -> Divided:
    """Return the images to train on and the images to validate on.

    Args:
        data: The images, with their traits.
        holdout: How validation images are chosen.
        training: Whether the images are to train on; others may be too few to hold some out.

    Raises:
        DataError: There are too few images or groups.
    """
    train, val = data.train, data.val
    if holdout.folds is not None and holdout.fold is not None:
        pool = train if val is None else joined(train, val)
        train, val = split_fold(pool, holdout.folds, holdout.fold, holdout.seed, data.classes)
        return Divided(train, val, held_out=True, duplicates=count_duplicates(pool.traits().digests.numpy()))
    if val is not None:
        return Divided(train, val, held_out=False)
    try:
        kept, held, duplicates = _held_out(train, holdout, training=training)
    except (ValueError, DataError):
        if training:
            raise
        kept, held, duplicates = torch.arange(len(train)), torch.empty(0, dtype=torch.int64), 0
    return Divided(train.choose(kept), train.choose(held), held_out=True, duplicates=duplicates)


def _held_out(train: Split, holdout: Holdout, *, training: bool) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the rows to train on and to validate on, and the number of duplicates that were kept on one side."""
    digests = train.traits().digests.numpy()
    duplicates = count_duplicates(digests) if holdout.duplicates == "together" else 0
    if duplicates:
        try:
            groups = joined_groups(digests, train.groups)
            return *held_out_rows(train.labels, holdout.share, holdout.seed, groups), duplicates
        except DataError:
            if training:
                warn(COPIES_APART)
    return *held_out_rows(train.labels, holdout.share, holdout.seed, train.groups), 0

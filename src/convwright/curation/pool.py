"""All images of a data set as one split, so that they can be compared across its splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from convwright.brief import Brief
from convwright.data.dataset import Dataset, Split, Traits
from convwright.data.stores import PixelStore

ROLES = ("train", "val", "test")
"""Names of the splits; a pool stores their positions in here."""


class JoinedStore:
    """Images of several stores, one after another.

    Args:
        parts: Stores of images of one shape.
    """

    def __init__(self, parts: Sequence[torch.Tensor | PixelStore]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        _, channels, height, width = self._parts[0].shape
        return int(self._starts[-1]), channels, height, width

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the images in these rows, uint8, N x C x H x W."""
        found = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        for part, start, end in zip(self._parts, self._starts[:-1], self._starts[1:], strict=True):
            chosen = torch.nonzero((rows >= start) & (rows < end)).flatten()
            if len(chosen):
                inside = rows[chosen] - int(start)
                found[chosen] = part[inside] if isinstance(part, torch.Tensor) else part.read(inside)
        return found


@dataclass(frozen=True)
class Pool(Brief):
    """Images of all splits of a data set: training, validation and test images, in this order."""

    data: Dataset
    images: Split
    roles: np.ndarray
    """Position in `ROLES` of each image's split, uint8. Held-out images are training images here."""
    rows: np.ndarray
    """Row of each image in the store of its split, int64: its index in the split of a source."""

    @classmethod
    def of(cls, data: Dataset) -> "Pool":
        """Return the images of a data set.

        Args:
            data: The data set. Where its validation images were held out of the training images, they count as
                training images: they share its store.
        """
        splits = [data.train, data.val] + ([data.test] if data.test is not None else [])
        roles = [0, 0 if data.held_out else 1, 2]
        stores: list[torch.Tensor | PixelStore] = []
        rows, own = [], []
        for split in splits:
            if not any(split.store is store for store in stores):
                stores.append(split.store)
            place = next(index for index, store in enumerate(stores) if store is split.store)
            inside = torch.arange(len(split)) if split.rows is None else split.rows
            own.append(inside)
            rows.append(inside + sum(store.shape[0] for store in stores[:place]))
        traits = [split.known for split in splits]
        known = [each for each in traits if each is not None]
        images = Split(
            store=stores[0] if len(stores) == 1 else JoinedStore(stores),
            labels=torch.cat([split.labels for split in splits]),
            rows=torch.cat(rows),
            known=Traits(torch.cat([each.digests for each in known]), torch.cat([each.moments for each in known]))
            if len(known) == len(traits)
            else None,
        )
        counts = [len(split) for split in splits]
        return cls(data, images, np.repeat(np.array(roles[: len(splits)], np.uint8), counts), torch.cat(own).numpy())

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """Label of each image, int64; for multi-label data, bool N x classes."""
        return self.images.labels.numpy()

    @property
    def learnable(self) -> np.ndarray:
        """Positions of training and validation images, on which cross-fitted networks are trained."""
        return np.flatnonzero(self.roles < ROLES.index("test"))

    @property
    def has_files(self) -> bool:
        """Whether the images have names of files."""
        return self.data.train.names is not None

    def name(self, position: int) -> str:
        """Return the name of an image: its file, or its split and its index in there."""
        split, place = self._place(position)
        if split.names is not None:
            return split.names[place]
        return f"{ROLES[self.roles[position]]}/{self.rows[position]}"

    def classes_of(self, position: int) -> tuple[str, ...]:
        """Return the class of an image; its classes where it may have several."""
        label = self.images.labels[position]
        numbers = torch.nonzero(label).flatten().tolist() if self.images.multi_label else [int(label)]
        return tuple(self.data.classes[number] for number in numbers)

    def group(self, position: int) -> str | None:
        """Return the group of an image; None where there are no groups."""
        split, place = self._place(position)
        return None if split.groups is None else split.groups[place]

    def weight(self, position: int) -> float | None:
        """Return the weight of an image in the loss; None where its split has no weights."""
        split, place = self._place(position)
        return None if split.weights is None else float(split.weights[place])

    def _place(self, position: int) -> tuple[Split, int]:
        """Return the split of an image, and its position in there."""
        for split in (self.data.train, self.data.val, self.data.test):
            if split is not None and position < len(split):
                return split, position
            position -= len(split or ())
        raise IndexError(position)

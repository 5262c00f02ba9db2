"""Exact duplicates and near-duplicates: equal pixels, or thumbnails that hardly differ, in linear time."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from convwright.data.digests import digest
from convwright.data.framing import Framing
from convwright.data.images import Header, decode

SIDE = 8
"""Side of the thumbnails that are compared."""
PASSES = 12
"""Orders in which images are sorted; images that are the same are neighbours in at least one of them."""
MOST_COMPARED = 8
"""Neighbours in each order that an image is compared with, so that the work stays linear in the images."""
COMPONENTS = 12
"""Principal components of the thumbnails by which images are sorted."""
KEYS = 4
"""Components of an order that are rounded to cells, before the exact value of one more."""
CELL = 48.0
"""Side of these cells: several times the difference that noise and compression make in a component. It is smaller, one
standard deviation, for a component that varies less."""
FITTED_IMAGES = 4096
"""Images that the components are computed from, at most."""
COMPARED_AT_ONCE = 2**16
"""Pairs of thumbnails in memory at once."""
MEAN_DIFFERENCE, LARGEST_DIFFERENCE = 3.0, 24
"""Differences of the values of two thumbnails, of 255, up to which the images count as the same."""
LEAST_CONTRAST = 8.0
"""Standard deviation of a thumbnail's values below which an image, such as a plain surface, is like no other."""


class Likeness(NamedTuple):
    """What shows whether images are duplicates."""

    pixels: bytes
    """Digest of size and pixels."""
    thumbnail: np.ndarray
    """SIDE x SIDE x 3, uint8."""


def likeness_of(path: Path, header: Header, framing: Framing = Framing()) -> Likeness:
    """Return what shows whether an image is a duplicate; every error is raised as it is.

    Args:
        path: The file.
        header: Its header.
        framing: What values of images with more than 8 bits per channel mean.
    """
    pixels = np.ascontiguousarray(decode(path, (header.height, header.width), 3, framing))
    return Likeness(digest(pixels) + repr(pixels.shape).encode(), thumbnail_of(pixels))


def thumbnail_of(pixels: np.ndarray) -> np.ndarray:
    """Return a small thumbnail.

    Args:
        pixels: 3 x H x W, uint8.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


class Clusters:
    """Sets of items that belong together, joined by what they share.

    Args:
        count: Number of items.
    """

    def __init__(self, count: int) -> None:
        self.compared = 0
        """Comparisons of two thumbnails so far."""
        self._parents = list(range(count))
        self._first: dict[Hashable, int] = {}

    def join(self, item: int, shared: Iterable[Hashable]) -> None:
        """Put an item into the set of all items that share something with it."""
        for each in shared:
            self._unite(self._first.setdefault(each, item), item)

    def join_alike(self, thumbnails: np.ndarray) -> None:
        """Join items with nearly the same thumbnail.

        Images are sorted several times by coarse values of some of their principal components, drawn by a fixed seed,
        and compared with their next neighbours in each order.

        Args:
            thumbnails: uint8, one of each item, items x SIDE x SIDE x 3.
        """
        flat = thumbnails.reshape(len(thumbnails), SIDE * SIDE * 3)
        items = np.flatnonzero(flat.std(1) >= LEAST_CONTRAST)
        if len(items) < 2:
            return
        flat = flat[items]
        generator = np.random.default_rng(0)
        values = _principal_values(flat, generator)
        for _ in range(PASSES):
            order = _order(values, generator)
            for distance in range(1, min(MOST_COMPARED + 1, len(order))):
                self.compared += len(order) - distance
                for one, other in _same(flat, order[:-distance], order[distance:]):
                    self._unite(int(items[one]), int(items[other]))

    def first_of(self, item: int) -> int:
        """Return the first item of an item's set."""
        parents = self._parents
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def sizes(self) -> Sequence[int]:
        """Return the size of each item's set."""
        roots = [self.first_of(item) for item in range(len(self._parents))]
        counts = np.bincount(roots, minlength=len(roots))
        sizes: list[int] = counts[roots].tolist()
        return sizes

    def _unite(self, one: int, other: int) -> None:
        first, second = sorted((self.first_of(one), self.first_of(other)))
        self._parents[second] = first


def _principal_values(flat: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the principal components of thumbnails, N x COMPONENTS, float32.

    Args:
        flat: uint8, N x values.
        generator: Draws the thumbnails that the components are computed from.
    """
    sample = flat[generator.permutation(len(flat))[:FITTED_IMAGES]].astype(np.float32)
    centred = sample - sample.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, -COMPONENTS:].astype(np.float32)
    chunks = [flat[start : start + COMPARED_AT_ONCE] @ axes for start in range(0, len(flat), COMPARED_AT_ONCE)]
    return np.concatenate(chunks)


def _order(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return an order of images: by cells of some components, then by the exact value of another one."""
    *keys, last = generator.permutation(values.shape[1])[: KEYS + 1]
    sides = np.minimum(CELL, values.std(0) + 1e-6)
    cells = [np.floor(values[:, key] / sides[key] + generator.random()) for key in keys]
    return np.lexsort((values[:, last], *cells))


def _same(flat: np.ndarray, ones: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs of images whose thumbnails hardly differ.

    Args:
        flat: uint8, N x values.
        ones: Rows of the first image of each pair.
        others: Rows of the second.
    """
    for start in range(0, len(ones), COMPARED_AT_ONCE):
        one, other = ones[start : start + COMPARED_AT_ONCE], others[start : start + COMPARED_AT_ONCE]
        gaps = np.abs(flat[one].astype(np.int16) - flat[other])
        same = (gaps.mean(1) <= MEAN_DIFFERENCE) & (gaps.max(1) <= LARGEST_DIFFERENCE)
        yield from zip(one[same].tolist(), other[same].tolist(), strict=True)

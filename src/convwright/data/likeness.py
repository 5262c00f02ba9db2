"""Exact duplicates and near-duplicates: equal pixels, or thumbnails that hardly differ, in linear time."""

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from convwright.data.digests import digest
from convwright.data.framing import Framing
from convwright.data.images import Header, decode

SIDE = 8
"""Side of the thumbnails that are compared."""
LEAST_DIFFERENCE = 6
"""Difference of neighbouring grey values, of 255, from which on one counts as brighter."""
BANDS = 8
"""Parts of a thumbnail's differences; two images are compared if one part is equal."""
MOST_COMPARED = 8
"""Images that an image is compared with for each part, at most, so that the work stays linear."""
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
        self._alike: dict[bytes, list[int]] = {}
        self._thumbnails = np.zeros((count, SIDE, SIDE, 3), np.uint8)

    def join(self, item: int, shared: Iterable[Hashable]) -> None:
        """Put an item into the set of all items that share something with it."""
        for each in shared:
            self._unite(self._first.setdefault(each, item), item)

    def join_alike(self, item: int, thumbnail: np.ndarray) -> None:
        """Put an item into the set of items with nearly the same thumbnail."""
        values = thumbnail.astype(np.int16)
        if values.std() < LEAST_CONTRAST:
            return
        self._thumbnails[item] = thumbnail
        buckets = [self._alike.setdefault(band, []) for band in _bands(values)]
        others = list({other for bucket in buckets for other in bucket})
        if others:
            self.compared += len(others)
            gaps = np.abs(self._thumbnails[others] - values)
            same = (gaps.mean((1, 2, 3)) <= MEAN_DIFFERENCE) & (gaps.max((1, 2, 3)) <= LARGEST_DIFFERENCE)
            for place in np.flatnonzero(same).tolist():
                self._unite(others[place], item)
        for bucket in buckets:
            if len(bucket) < MOST_COMPARED:
                bucket.append(item)

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


def _bands(thumbnail: np.ndarray) -> list[bytes]:
    """Return the parts of the differences of neighbouring grey values, each with its number."""
    grey = thumbnail.mean(2)
    brighter = [np.roll(grey, 1, axis) - grey > LEAST_DIFFERENCE for axis in (0, 1)]
    packed = np.packbits(np.stack(brighter).reshape(-1)).reshape(BANDS, -1)
    return [bytes([number]) + band.tobytes() for number, band in enumerate(packed)]

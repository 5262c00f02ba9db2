"""What the images of a data set look like, from a sample of them: enough to choose how to train on them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np
import torch

from convwright.data.images import Header, decode, quiet, read_header
from convwright.data.items import Items, LabelledItems, opened
from convwright.data.opened import COLUMNS, Data
from convwright.data.registry import SOURCES
from convwright.data.sources import labelled_images
from convwright.errors import DataError

if TYPE_CHECKING:
    from convwright.data.dataset import Split

HEADERS, DECODED = 400, 48
"""Training images whose sizes are read, and images that are decoded."""
LARGEST = 96
"""Side of the decoded images, or less where they are smaller."""
LEAST_PHOTOGRAPH = 40
"""Short side from which on images are called photographs: smaller ones do not show what they are."""
LEAST_CHROMA = 6.0
"""Mean distance between the largest and the smallest channel, of 255, from which on images count as coloured."""
MOST_FLAT = 0.35
"""Share of neighbouring pixels of equal colour up to which images count as photographs; the background is left out."""


@dataclass(frozen=True)
class Appearance:
    """Number, size, colours and kind of the training images."""

    images: int
    """Training images."""
    classes: int
    side: int
    """Median short side in pixels."""
    coloured: bool
    photographs: bool
    """Whether colours change from pixel to pixel, as in photographs, and not in areas, as in drawings."""

    def __str__(self) -> str:
        kind = "photographs" if self.photographs and self.side >= LEAST_PHOTOGRAPH else "pictures"
        count = f"{self.images:,} {'colour' if self.coloured else 'grey'} {kind}"
        return f"{count} of about {self.side} px in {self.classes:,} classes"


def appearance_of(data: Data) -> Appearance:
    """Look at some of the training images of a data set, spread evenly over the classes.

    Args:
        data: The data, which is not decoded as a whole where it consists of files.

    Raises:
        DataError: There is no such data, or none of the images that were looked at can be read.
    """
    if data.spec not in SOURCES:
        with quiet():
            found = labelled_images(data.spec, {name: getattr(data, name) for name in COLUMNS})
            if isinstance(found, LabelledItems):
                return _of_items(data.spec, found)
        return appearance_of(Data(found.source))
    parts = SOURCES[data.spec].read(False)
    return _of_split(parts.train, len(parts.classes))


def _of_items(spec: str, data: LabelledItems) -> Appearance:
    numbers = data.splits["train"].numbers
    headers = list(_headers(data.items, [int(numbers[place]) for place in spread(len(numbers), HEADERS)]))
    if not headers:
        raise DataError(f"{spec}: none of the training images that were looked at can be read")
    side = median_low([header.short_side for _, header in headers])
    coloured = [number for number, header in headers if not header.grey]
    chosen = coloured or [number for number, _ in headers]
    chosen = [chosen[place] for place in spread(len(chosen), DECODED)]
    pixels = list(_decoded(data.items, chosen, min(side, LARGEST)))
    looks = _looks(pixels) if pixels else (bool(coloured), True)
    return Appearance(len(numbers), len(data.classes), side, bool(coloured) and looks[0], looks[1])


def _of_split(split: "Split", classes: int) -> Appearance:
    pixels = split.take(torch.tensor(spread(len(split), DECODED)))
    looks = _looks([image.numpy() for image in pixels])
    return Appearance(len(split), classes, min(split.size), split.channels > 1 and looks[0], looks[1])


def spread(count: int, most: int) -> list[int]:
    """Return the positions of some of `count` things, evenly spread over all."""
    shown = min(count, most)
    return [index * count // shown for index in range(shown)]


def _headers(items: Items, numbers: Iterable[int]) -> Iterator[tuple[int, Header]]:
    for number in numbers:
        try:
            yield number, read_header(opened(items.reference(number)))
        except Exception:  # Pillow raises nearly anything on damaged files, which reading the data reports
            continue


def _decoded(items: Items, numbers: Iterable[int], side: int) -> Iterator[np.ndarray]:
    for number in numbers:
        try:
            yield decode(opened(items.reference(number)), side, 3)
        except Exception:
            continue


def _looks(images: Sequence[np.ndarray]) -> tuple[bool, bool]:
    """Return whether images, C x H x W, are coloured, and whether they are photographs."""
    chroma = [float(np.ptp(image.astype(np.int16), axis=0).mean()) for image in images]
    flat = [_flat_share(image) for image in images]
    return float(np.mean(chroma)) >= LEAST_CHROMA, float(np.median(flat)) <= MOST_FLAT


def _flat_share(image: np.ndarray) -> float:
    """Return the share of pixels that equal the pixel to their right, outside the background: the corner's colour."""
    outside = (image == image[:, :1, :1]).all(axis=0)
    same = (image[:, :, 1:] == image[:, :, :-1]).all(axis=0)
    kept = ~(outside[:, 1:] & outside[:, :-1])
    return float(same[kept].mean()) if kept.any() else 1.0

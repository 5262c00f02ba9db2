"""Training images at a larger size than the network's input, from which random resized crops are cut."""

import math
from dataclasses import replace

import torch

from convwright.arch.resolution import Resolution, resolution_of, sides
from convwright.data.dataset import Dataset, Split
from convwright.data.folds import joined
from convwright.errors import DataError
from convwright.printable import printable

LARGEST_FACTOR = 2.0
"""Most by which a side is larger than that of the network's input: four times the memory of the images."""


def enlarged(resolution: Resolution, smallest: float) -> Resolution:
    """Return the resolution at which the smallest crops need not be magnified, within `LARGEST_FACTOR`.

    Args:
        resolution: That of the network.
        smallest: Least share of an image's area that a crop shows, more than 0.
    """
    factor = min(LARGEST_FACTOR, 1 / math.sqrt(smallest))
    height, width = sides(resolution)
    return resolution_of(round(factor * height), round(factor * width))


def with_larger(dataset: Dataset, larger: Dataset) -> Dataset:
    """Return a data set with larger training images; unchanged if the images are not larger.

    Args:
        dataset: The data at the resolution of the network.
        larger: The same data at another resolution.

    Raises:
        DataError: The two have other images.
    """
    if any(more < side for more, side in zip(larger.size, dataset.size, strict=True)) or larger.size == dataset.size:
        return dataset
    one, other = dataset.train, _same_part(dataset.train, larger)
    named = zip(one.names or (), other.names or (), strict=False)
    if not torch.equal(one.labels, other.labels) or any(name != twin for name, twin in named):
        raise DataError(f"{printable(dataset.name)}: its images changed while they were read; start again")
    return replace(dataset, train=replace(one, larger=other))


def _same_part(train: Split, larger: Dataset) -> Split:
    """Return the larger images of `train`: those of a fold can be others than `larger.train`.

    Images that are equal stay in one fold, and small images can be equal where large ones are not.
    """
    own, val = larger.train, larger.val
    if own.rows is None or val.rows is None or own.store is not val.store:
        return own
    if len(train) == len(own) and _keys(train) == _keys(own):
        return own
    pool = joined(own, val)
    places = {key: place for place, key in enumerate(_keys(pool))}
    if not places.keys() >= set(_keys(train)):
        return own  # the images have changed
    return pool.choose(torch.tensor([places[key] for key in _keys(train)], dtype=torch.int64))


def _keys(split: Split) -> list[str | int]:
    """Return what identifies each image at any size: its name, or its row where images have no names."""
    if split.names is not None:
        return list(split.names)
    return list(range(len(split))) if split.rows is None else split.rows.tolist()

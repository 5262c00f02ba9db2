"""The images that are explained, as each network reads them: files, arrays, or images held out of training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

import torch

from convwright.arch.resolution import largest
from convwright.brief import Brief
from convwright.data import SOURCES, Dataset, Split
from convwright.data.opened import Data
from convwright.errors import ArgumentError, ConvwrightError, warn
from convwright.explain.opened import OpenNetwork
from convwright.explain.samples import as_read, chosen, held_out
from convwright.prediction.image_files import NamedImage, find_images
from convwright.training.run_data import data_for, is_own

if TYPE_CHECKING:
    from convwright.prediction.image_files import AnyImages

BATCH = 64
NO_CLASS = "no class"
"""Label of an image that has none of the classes."""
Truth = str | tuple[str, ...] | None
SHOWN = 8
"""Images drawn from data where no number is given."""
Source = Union["AnyImages", Split, Data]
"""Images to explain: files, folders, patterns, arrays, Pillow images, a split, or data."""


@dataclass(frozen=True)
class ReadImages(Brief):
    """Images as each network reads them, under the same names."""

    names: tuple[str, ...]
    truths: tuple[Truth, ...]
    """Class of each image by its label, or its classes by its labels; None where the labels are not known."""
    pixels: tuple[list[torch.Tensor], ...]
    """A list for each network: C x H x W, uint8."""
    source: str
    """What the images are, such as `test images of digits`."""
    problems: tuple[str, ...] = ()
    """Errors of the images that could not be read."""

    def __len__(self) -> int:
        return len(self.names)


def read_images(
    networks: Sequence[OpenNetwork],
    images: Source | None = None,
    data: Data | str | Path | None = None,
    count: int | None = None,
) -> ReadImages:
    """Read the images that are to be explained with the preprocessing of each network.

    Args:
        networks: The networks.
        images: Files, folders, patterns, arrays, Pillow images, a split, or data; None for images of `data`.
        data: A folder with classes or a source to draw held-out images from; None for the runs' own data.
        count: Number of images; None for all that `images` names, or `SHOWN` drawn from data.

    Returns:
        The images. Those that cannot be read are left out, with a warning for each.

    Raises:
        ArgumentError: There are no images, or both `images` and `data` are given.
        ConvwrightError: None of the images can be read.
    """
    if images is not None and data is not None:
        raise ArgumentError("data", "images and data exclude each other; give one of them")
    if isinstance(images, Data) or _is_source(images):
        images, data = None, images
    if isinstance(images, Split):
        return _from_split(networks, images, count)
    if images is None:
        return _from_data(networks, data, count or SHOWN)
    found = find_images(images)
    files = found.images[:count]
    return _read(networks, files, [None] * len(files), problems=found.problems)


def truths_of(split: Split, classes: Sequence[str]) -> list[Truth]:
    """Return the class of each image of a split, or its classes where it has several labels."""
    if not split.multi_label:
        return [classes[label] for label in split.labels.tolist()]
    return [tuple(name for name, there in zip(classes, row, strict=True) if there) for row in split.labels.tolist()]


def truth_text(truth: Truth) -> str:
    """Return labels as text, empty where they are not known."""
    return (truth or "") if not isinstance(truth, tuple) else ", ".join(truth) or NO_CLASS


def _is_source(images: object) -> bool:
    return isinstance(images, str) and images in SOURCES and not Path(images).exists()


def _from_split(networks: Sequence[OpenNetwork], split: Split, count: int | None) -> ReadImages:
    """Draw images from a split, whose labels count the classes of the networks."""
    drawn = chosen(split, count or SHOWN)
    first = networks[0].predictor.classes
    classes = split.labels.shape[1] if split.multi_label else int(split.labels.max()) + 1
    known = all(one.predictor.classes == first for one in networks) and classes <= len(first)
    truths = truths_of(drawn, first) if known else [None] * len(drawn)
    return _decoded(networks, split, drawn, truths, "image", f"{len(split):,} images")


def _from_data(networks: Sequence[OpenNetwork], source: Data | str | Path | None, count: int) -> ReadImages:
    """Draw held-out images from the runs' own data, or from other data."""
    data = _open(networks, source)
    name, split = held_out(data)
    other = source is not None and not any(is_own(one.run, source) for one in networks if one.run)
    _check_held_out(networks, data, name, other=other)
    drawn = chosen(split, count)
    truths = truths_of(drawn, data.classes)
    described = f"{name} images of {data.name}"
    if drawn.names and all((Path(data.name) / file).is_file() for file in drawn.names):
        files = [NamedImage(file, Path(data.name) / file) for file in drawn.names]
        return _read(networks, files, truths, described)
    return _decoded(networks, split, drawn, truths, name, described)


def _decoded(
    networks: Sequence[OpenNetwork],
    split: Split,
    drawn: Split,
    truths: Sequence[Truth],
    prefix: str,
    described: str,
) -> ReadImages:
    """Give decoded images to each network at its own resolution; images without files are numbered in their split."""
    names = drawn.names or tuple(f"{prefix}-{place}" for place in _places(split, drawn))
    pixels = tuple(as_read(one.predictor, drawn) for one in networks)
    return ReadImages(tuple(names), tuple(truths), pixels, described)


def _read(
    networks: Sequence[OpenNetwork],
    images: Sequence[NamedImage],
    truths: Sequence[Truth],
    source: str = "",
    problems: Sequence[str] = (),
) -> ReadImages:
    """Read images with every network's own preprocessing. ConvwrightError if none can be read."""
    values = [one.image for one in images]
    columns = []
    for network in networks:
        starts = range(0, len(values), BATCH)
        columns.append([one for at in starts for one in network.predictor.read_all(values[at : at + BATCH])])
    rows = list(zip(*columns, strict=True))
    good = [row for row, cells in enumerate(rows) if not any(map(_failed, cells))]
    failures = [str(next(filter(_failed, cells))) for cells in rows if any(map(_failed, cells))]
    if not good:
        raise ConvwrightError(f"none of the images could be read: {failures[0]}")
    unread = [*problems, *failures]
    for problem in unread:
        warn(problem)
    return ReadImages(
        tuple(images[row].name for row in good),
        tuple(truths[row] for row in good),
        tuple([column[row] for row in good] for column in columns),
        source or ("1 file" if len(good) == 1 else f"{len(good)} files"),
        tuple(unread),
    )


def _failed(result: object) -> bool:
    return isinstance(result, ConvwrightError)


def _open(networks: Sequence[OpenNetwork], source: Data | str | Path | None) -> Dataset:
    """Open the data: a source at its own resolution, a folder at the largest that a network reads."""
    runs = [one.run for one in networks if one.run]
    if source is None:
        own = list(dict.fromkeys(run.config.data for run in runs))
        if len(runs) < len(networks) or not own:
            raise ArgumentError(
                "images", "a network with published weights has no data of its own; give images or data"
            )
        if len(own) > 1:
            raise ArgumentError(
                "images", f"the runs were trained on different data ({', '.join(own)}); give images or data"
            )
        source = own[0]
    data = data_for(runs[0], source) if runs else Data.of(source)
    if not isinstance(source, Data):
        data = replace(data, max_bad=1.0)
    resolution = None if data.spec in SOURCES else largest([one.predictor.network.resolution for one in networks])
    training = any(is_own(run, data) for run in runs)
    return data.dataset(resolution, training=training)


def _check_held_out(networks: Sequence[OpenNetwork], data: Dataset, name: str, *, other: bool) -> None:
    """Raise ArgumentError where one run's validation images are another's training images."""
    runs = [one.run for one in networks if one.run]
    options = ("data_seed", "val_share", "folds", "fold", "duplicates")
    splits = {tuple(getattr(run.config, option) for option in options) for run in runs}
    if name == "val" and not other and len(splits) > 1:
        raise ArgumentError(
            "images",
            f"{data.name} has no test images, and the runs hold out different images for validation; "
            "give images or data",
        )


def _places(split: Split, drawn: Split) -> list[int]:
    """Return the positions of the drawn images in their split."""
    if drawn.rows is None:
        return list(range(len(drawn)))
    rows = drawn.rows.tolist()
    if split.rows is None:
        return rows
    return [int((split.rows == row).nonzero()[0].item()) for row in rows]

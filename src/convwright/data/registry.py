"""Data sources that are known by name: those of Convwright, and those of installed packages.

A package adds a source in its `pyproject.toml`, and every command and function then takes its name as data:

    [project.entry-points."convwright.data"]
    flowers = "flower_images:read"

`flower_images.read` is a function of `offline_only` (whether downloads are forbidden) that returns `Parts`: names of
the classes, and images with labels. It may also be a `Source`, which has a description besides. A plug-in that cannot
be used is reported in one warning, and all other sources work as if it were not installed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from inspect import getdoc

import torch

from convwright.data.arrays import ReadAt, find_in_memory
from convwright.data.builtin import cifar, digits, fashion_mnist
from convwright.data.dataset import Parts, Split
from convwright.data.stores import PixelStore
from convwright.errors import ConvwrightError, DataError, UsageError
from convwright.plugins import load_plugins

GROUP = "convwright.data"
"""Group of entry points."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")

Read = Callable[[bool], Parts]
"""Function of `offline_only` that returns a source's images."""


@dataclass(frozen=True)
class Source:
    """A data set that is known by name."""

    description: str
    """Images, their sizes and classes, in a few words."""
    read: Read
    """Called with `offline_only`: whether downloads are forbidden."""
    flip: bool = True
    """Whether a mirrored image still shows its class; False for digits and letters."""
    read_at: ReadAt | None = None
    """Reads images that have several sizes at a height and width, as a framing says; None: they are all of one size."""


BUILT_IN: dict[str, Source] = {
    "fashion-mnist": Source("70,000 grey images of clothes, 28 x 28, 10 classes", fashion_mnist),
    "cifar10": Source("60,000 colour images, 32 x 32, 10 classes", partial(cifar, 10)),
    "cifar100": Source("60,000 colour images, 32 x 32, 100 classes", partial(cifar, 100)),
    "digits": Source("1,797 grey images of handwritten digits, 8 x 8, 10 classes", digits, flip=False),
}


class Sources(Mapping[str, Source]):
    """All sources by name. Plug-ins are loaded when a name is looked up that is not one of Convwright's.

    Images that were given in Python are found by their specification, and not listed.
    """

    def __getitem__(self, name: str) -> Source:
        if (arrays := find_in_memory(name)) is not None:
            return Source("images given in Python", lambda offline_only: arrays.parts, arrays.flip, arrays.read_at)
        return BUILT_IN[name] if name in BUILT_IN else _plugins()[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*BUILT_IN, *_plugins()))

    def __len__(self) -> int:
        return len(BUILT_IN) + len(_plugins())


SOURCES: Mapping[str, Source] = Sources()


@cache
def _plugins() -> dict[str, Source]:
    """Return the sources of other packages by name; loaded once for each process.

    Warns:
        ConvwrightWarning: A plug-in cannot be loaded or does not meet the contract; it is left out.
    """
    found: dict[str, Source] = {}

    def add(name: str, provided: object) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"its name must be lower-case letters, digits, dots, hyphens and underscores, not {name!r}"
            )
        if name in BUILT_IN or name in found:
            raise UsageError(f"another source has the name {name!r}")
        source = _as_source(provided)
        found[name] = replace(source, read=partial(_read_plugin, name, source.read))

    load_plugins(GROUP, add)
    return found


def _as_source(provided: object) -> Source:
    if isinstance(provided, Source):
        if not (isinstance(provided.description, str) and callable(provided.read) and isinstance(provided.flip, bool)):
            raise UsageError("its description must be a text, its read a function and its flip True or False")
        return provided
    if not callable(provided) or isinstance(provided, type):
        raise UsageError(f"it must be a function or a convwright.data.Source, not {type(provided).__name__}")
    return Source((getdoc(provided) or "").partition("\n")[0], provided)


def _read_plugin(name: str, read: Read, offline_only: bool) -> Parts:
    """Read the images of another package's source and check them.

    Raises:
        DataError: The source fails, or its images or labels are not as they must be.
    """
    try:
        parts = read(offline_only)
    except ConvwrightError:
        raise
    except Exception as error:  # of another package's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"the data source {name} cannot be read: {reason:.300}") from error
    if fault := fault_of(parts):
        raise DataError(f"the data source {name} is unusable: {fault}")
    return parts


def fault_of(parts: object) -> str:
    """Return in what respect an object does not hold images and labels to train on; an empty text if it does."""
    if not isinstance(parts, Parts):
        return f"it must return convwright.data.Parts, not {type(parts).__name__}"
    if not isinstance(parts.classes, tuple) or not all(isinstance(name, str) and name for name in parts.classes):
        return "classes must be a tuple of names"
    if len(parts.classes) < 2:
        return "it must have two classes or more"
    for role, split in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        if split is None and role != "train":
            continue
        if not isinstance(split, Split):
            return f"{role} must be a convwright.data.Split, not {type(split).__name__}"
        if fault := _fault_of_split(split, parts):
            return f"{role}: {fault}"
    labels = parts.train.labels
    seen = labels.sum(0) if labels.ndim == 2 else torch.bincount(labels, minlength=len(parts.classes))
    least = 2 if parts.val is None else 1
    if missing := [name for name, count in zip(parts.classes, seen.tolist(), strict=True) if count < least]:
        few = "fewer than 2 training images" if least == 2 else "no training images"
        subject = "1 class has" if len(missing) == 1 else f"{len(missing):,} classes have"
        return f"{subject} {few} ({', '.join(missing[:3])})"
    return ""


def _fault_of_split(split: Split, parts: Parts) -> str:
    store, labels = split.store, split.labels
    if isinstance(store, torch.Tensor) and (store.dtype != torch.uint8 or store.ndim != 4):
        return "images must be a uint8 tensor, N x C x H x W"
    if not isinstance(store, torch.Tensor | PixelStore):
        return "images must be a uint8 tensor, N x C x H x W, or an object that reads rows of one"
    if store.shape[1] not in (1, 3) or 0 in store.shape[2:]:
        return f"images must have pixels, and 1 or 3 channels, not {' x '.join(map(str, store.shape))}"
    if store.shape[1:] != parts.train.store.shape[1:]:
        return "images must have the shape of the training images"
    if not isinstance(labels, torch.Tensor) or labels.dtype not in (torch.int64, torch.bool):
        return "labels must be an int64 tensor of N, or a bool tensor of N x classes"
    if labels.ndim != (1 if labels.dtype == torch.int64 else 2) or labels.ndim != parts.train.labels.ndim:
        return "labels must be an int64 tensor of N, or a bool tensor of N x classes, in all splits the same"
    images = store.shape[0] if split.rows is None else len(split.rows)
    if len(labels) != images or not images:
        return f"{images} images and {len(labels)} labels; there must be one for each, and some"
    if labels.ndim == 2 and labels.shape[1] != len(parts.classes):
        return f"labels must have a column for each of the {len(parts.classes)} classes, not {labels.shape[1]}"
    if labels.ndim == 1 and not 0 <= int(labels.min()) <= int(labels.max()) < len(parts.classes):
        return f"labels must be 0 to {len(parts.classes) - 1}, the positions of the classes"
    return ""

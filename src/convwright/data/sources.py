"""From what the user names, a source or a folder, to a data set that is ready to train on."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from convwright.data.builtin import cifar, digits, fashion_mnist
from convwright.data.cache import Cache
from convwright.data.dataset import CHUNK, Dataset, Parts, Split, channel_statistics, fingerprint
from convwright.data.folder import read_folder
from convwright.data.images import printable, reason
from convwright.data.memory import check_fits
from convwright.data.split import stratified_split
from convwright.data.threads import Progress
from convwright.errors import DataError

MAX_BAD = 0.1
"""Share of a folder's files that may be unreadable: with more, something is wrong with the whole."""


@dataclass(frozen=True)
class Source:
    """A data set that is known by name."""

    description: str
    read: Callable[[bool], Parts]
    """Called with ``offline_only``."""
    flip: bool = True


SOURCES: dict[str, Source] = {
    "fashion-mnist": Source("70,000 grey images of clothes, 28 x 28, 10 classes", fashion_mnist),
    "cifar10": Source("60,000 colour images, 32 x 32, 10 classes", partial(cifar, 10)),
    "cifar100": Source("60,000 colour images, 32 x 32, 100 classes", partial(cifar, 100)),
    "digits": Source("1,797 grey images of handwritten digits, 8 x 8, 10 classes", digits, flip=False),
}


def open_dataset(
    spec: str,
    *,
    resolution: int | None = None,
    largest: int = 224,
    val_share: float = 0.1,
    seed: int = 0,
    max_bad: float = MAX_BAD,
    cache_gb: float | None = None,
    offline_only: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open a source by its name, or a folder with a sub-folder of images for each class.

    ``resolution`` None keeps a source's own; for a folder it is the images' median short side, at most
    ``largest``.
    Where the data has no validation split, a stratified ``val_share`` of the training data, drawn by
    ``seed``, becomes it.

    A folder's decoded images are kept in the user's cache, which takes ``cache_gb`` GB at most (None: as
    CONVWRIGHT_CACHE_GB says, else 20; 0: no cache). Files that cannot be read are skipped, and named in the data
    set's ``skipped``; if they are more than the share ``max_bad``, that is a DataError.
    """
    if resolution is not None and resolution < 1:
        raise DataError(f"the resolution must be at least 1 pixel, not {resolution}")
    if not 0 < val_share < 1:
        raise DataError(f"the validation share must lie between 0 and 1, not {val_share:g}")
    if not 0 <= max_bad <= 1:
        raise DataError(f"the share of unreadable files must lie between 0 and 1, not {max_bad:g}")
    cache = Cache.open(cache_gb)
    source = SOURCES.get(spec)
    if source is not None:
        data = _at_resolution(source.read(offline_only), resolution)
    else:
        with existing_folder(spec) as root:
            data = read_folder(root, resolution, largest, cache=cache, max_bad=max_bad, progress=progress)
    if twice := [name for name in data.classes if data.classes.count(name) > 1]:
        raise DataError(f"{printable(spec)}: two classes are both written {twice[0]!r}; rename one of their folders")
    train, val = _with_traits(data.train), data.val and _with_traits(data.val)
    test = data.test and _with_traits(data.test)
    if val is None:
        kept, held = stratified_split(train.labels, val_share, seed)
        train, val = train.choose(kept), train.choose(held)
    mean, std = channel_statistics(train)
    return Dataset(
        name=spec,
        classes=data.classes,
        train=train,
        val=val,
        test=test,
        mean=mean,
        std=std,
        fingerprint=fingerprint(data.classes, train, val, test),
        skipped=data.skipped,
        default_flip=source is None or source.flip,
    )


@contextmanager
def existing_folder(spec: str) -> Iterator[Path]:
    """Give the folder that the user names; DataError if there is none, or if the system refuses it."""
    root = Path(spec).expanduser()
    try:
        if spec and root.is_dir():  # "" would be the current folder
            yield root
            return
        exists = bool(spec) and root.exists()
    except OSError as error:
        raise DataError(f"cannot read {printable(spec)}: {reason(error)}") from error
    if exists:
        raise DataError(f"{printable(spec)} is a file: the data must be a folder with a sub-folder per class")
    near = difflib.get_close_matches(spec.lower(), SOURCES, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    raise DataError(f"no folder {printable(spec) or repr(spec)} was found{guess}: give a folder, or {_listed(SOURCES)}")


def _listed(names: dict[str, Source]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _at_resolution(data: Parts, resolution: int | None) -> Parts:
    """Return a named source's data (none has a validation split) resized, where that is asked for."""
    if resolution is None or resolution == data.train.resolution:
        return data
    train, test = data.train, data.test
    check_fits(len(train) + len(test or ()), train.channels, resolution)
    return replace(data, train=resized(train, resolution), test=None if test is None else resized(test, resolution))


def resized(split: Split, resolution: int) -> Split:
    """Return the images at a resolution, as a source's are when it is opened at that resolution."""
    pixels = torch.empty(len(split), split.channels, resolution, resolution, dtype=torch.uint8)
    for source, target in zip(torch.split(split.images, CHUNK), torch.split(pixels, CHUNK), strict=True):
        target.copy_(torch.nn.functional.interpolate(source, size=resolution, mode="bicubic", antialias=True))
    return Split(pixels, split.labels)


def _with_traits(split: Split) -> Split:
    """Work out once what fingerprint and statistics both need."""
    return replace(split, known=split.traits())

"""Open a source or a folder as a data set that is ready to train on."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from convwright.arch.resolution import Resolution, format_resolution, sides
from convwright.data.arrays import PREFIX, not_held
from convwright.data.cache import Cache
from convwright.data.dataset import CHUNK, Dataset, Parts, Split, channel_statistics, fingerprint
from convwright.data.folder import read_files
from convwright.data.framing import Framing
from convwright.data.images import printable, reason
from convwright.data.layout import find_images
from convwright.data.memory import check_fits
from convwright.data.registry import SOURCES as SOURCES
from convwright.data.registry import Source as Source
from convwright.data.resizing import resized_pixels
from convwright.data.split import stratified_split
from convwright.data.threads import Progress
from convwright.errors import DataError

MAX_BAD = 0.1
"""Share of a folder's files that may be unreadable: with more, something is wrong with the whole."""


def open_dataset(
    spec: str,
    *,
    resolution: Resolution | None = None,
    largest: int = 224,
    framing: Framing = Framing(),
    val_share: float = 0.1,
    seed: int = 0,
    max_bad: float = MAX_BAD,
    cache_gb: float | None = None,
    offline_only: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open a source by its name, or a folder with a sub-folder of images for each class.

    A folder's decoded images are kept in the user's cache. Files that cannot be read are skipped, and listed in the
    data set's `skipped`.

    Args:
        spec: Name of a source, or a folder.
        resolution: Side of the images in pixels, or (height, width); None: those of the source, or the median short
            side of a folder's images.
        largest: Largest resolution where it is a folder's median short side.
        framing: How images of other sizes are resized.
        val_share: Share of the training images that becomes the validation split where the data has none.
        seed: Seed of that share, which is stratified by class.
        max_bad: Largest share of a folder's files that may be unreadable.
        cache_gb: Most gigabytes of the cache; None: the variable CONVWRIGHT_CACHE_GB, else 20; 0: no cache.
        offline_only: Whether downloads are forbidden.
        progress: Called with the number of images done, their total and a description.

    Raises:
        DataError: The data does not exist, cannot be read or cannot be trained on.
    """
    if resolution is not None and min(sides(resolution)) < 1:
        raise DataError(f"the resolution must be at least 1 pixel, not {format_resolution(resolution)}")
    if largest < 1:
        raise DataError(f"the largest resolution must be at least 1 pixel, not {largest}")
    if not 0 < val_share < 1:
        raise DataError(f"the validation share must lie between 0 and 1, not {val_share:g}")
    if not 0 <= max_bad <= 1:
        raise DataError(f"the share of unreadable files must lie between 0 and 1, not {max_bad:g}")
    cache = Cache.open(cache_gb)
    source = SOURCES.get(spec)
    if source is not None:
        data = _at_resolution(source.read(offline_only), resolution, framing)
    else:
        with existing_folder(spec) as root:
            data = read_files(
                find_images(root), resolution, largest, framing, cache=cache, max_bad=max_bad, progress=progress
            )
    if twice := [name for name in data.classes if data.classes.count(name) > 1]:
        raise DataError(f"{printable(spec)}: two classes are both written {twice[0]!r}; rename one of their folders")
    train, val = _with_traits(data.train), data.val and _with_traits(data.val)
    test = data.test and _with_traits(data.test)
    held_out = val is None
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
        framing=data.framing,
        held_out=held_out,
    )


def check_exists(spec: str) -> None:
    """Check that a source or folder exists, without opening it.

    Raises:
        DataError: It does not.
    """
    if spec not in SOURCES:
        with existing_folder(spec):
            pass


@contextmanager
def existing_folder(spec: str) -> Iterator[Path]:
    """Enter a context with the folder that `spec` names.

    Raises:
        DataError: There is no such folder, or it cannot be read.
    """
    if spec.startswith(PREFIX):
        raise DataError(not_held(spec))
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


def _listed(names: Mapping[str, Source]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _at_resolution(data: Parts, resolution: Resolution | None, framing: Framing) -> Parts:
    """Return a source's data at a resolution; None: at its own."""
    data = replace(data, framing=framing)
    if resolution is None or sides(resolution) == data.train.size:
        return data
    check_fits(sum(len(split or ()) for split in (data.train, data.val, data.test)), data.train.channels, resolution)
    val, test = (None if split is None else resized(split, resolution, framing) for split in (data.val, data.test))
    return replace(data, train=resized(data.train, resolution, framing), val=val, test=test)


def resized(split: Split, resolution: Resolution, framing: Framing = Framing()) -> Split:
    """Return images resized to a resolution, exactly as when their source is opened at it."""
    pixels = torch.empty(len(split), split.channels, *sides(resolution), dtype=torch.uint8)
    for source, target in zip(torch.split(split.images, CHUNK), torch.split(pixels, CHUNK), strict=True):
        target.copy_(resized_pixels(source, sides(resolution), framing.resize))
    return replace(split, store=pixels, rows=None, known=None)


def _with_traits(split: Split) -> Split:
    """Return a split with its traits, which both fingerprint and statistics need."""
    return replace(split, known=split.traits())

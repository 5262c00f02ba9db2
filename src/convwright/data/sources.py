"""Open a source or a folder as a data set that is ready to train on."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch

from convwright.arch.resolution import Resolution, format_resolution, sides
from convwright.data.arrays import PREFIX, missing_images_message
from convwright.data.cache import Cache
from convwright.data.collections import check_collection, is_collection, open_collection
from convwright.data.dataset import CHUNK, Dataset, Parts, Split, channel_statistics, fingerprint
from convwright.data.folder import labelled_files
from convwright.data.framing import Duplicates, Framing
from convwright.data.images import printable, reason
from convwright.data.items import LabelledItems
from convwright.data.layout import Found, find_images
from convwright.data.lists import ImageList, files_of, is_list, read_list
from convwright.data.memory import check_fits
from convwright.data.reading import read_items
from convwright.data.registry import SOURCES as SOURCES
from convwright.data.registry import Source as Source
from convwright.data.resizing import resized_pixels
from convwright.data.source_lists import parts_of_list
from convwright.data.threads import Progress
from convwright.data.validation import Holdout, divide
from convwright.errors import ArgumentError, DataError

MAX_BAD = 0.1
"""Share of a folder's files that may be unreadable: with more, something is wrong with the whole."""

NO_COLUMNS: Mapping[str, str | None] = MappingProxyType({})


def open_dataset(
    spec: str,
    *,
    resolution: Resolution | None = None,
    largest: int = 224,
    framing: Framing = Framing(),
    val_share: float = 0.1,
    seed: int = 0,
    duplicates: Duplicates = "together",
    folds: int | None = None,
    fold: int | None = None,
    max_bad: float = MAX_BAD,
    cache_gb: float | None = None,
    columns: Mapping[str, str | None] = NO_COLUMNS,
    training: bool = True,
    offline_only: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open a source by its name, a folder with a sub-folder of images for each class, or a list of images.

    Decoded images of files are kept in the user's cache. Files that cannot be read are skipped, and listed in the
    data set's `skipped`.

    Args:
        spec: Name of a source, a folder, or a list.
        resolution: Side of the images in pixels, or (height, width); None: those of the source, or the median short
            side of a folder's images.
        largest: Largest resolution where it is a folder's median short side.
        framing: How images of other sizes are resized.
        val_share: Share of the training images that becomes the validation split where the data has none.
        seed: Seed of that share, which is stratified by class.
        duplicates: Images with equal pixels in that share: `together`, on the same side, or `apart`, as drawn.
        folds: Parts for cross-validation, into which training and validation images are split together; None: none.
        fold: The part to validate on, from 1; the others are trained on.
        max_bad: Largest share of a folder's files that may be unreadable.
        cache_gb: Most gigabytes of the cache; None: the variable CONVWRIGHT_CACHE_GB, else 20; 0: no cache.
        columns: Columns of a list, by the names of the fields of `Data`.
        training: Whether the images are to train on. To evaluate, any number of images of any classes will do; the
            splits `train` and `val` may have no images.
        offline_only: Whether downloads are forbidden.
        progress: Called with the number of images done, their total and a description.

    Raises:
        DataError: The data does not exist, cannot be read or cannot be trained on.
    """
    _check_bounds(resolution, largest, val_share, max_bad)
    cache = Cache.open(cache_gb)
    source = SOURCES.get(spec)
    if source is not None:
        check_no_columns(columns, spec)
        data = _read_source(source, resolution, framing, offline_only=offline_only)
    else:
        keep = cache is not None
        found = labelled_images(
            spec, columns, training=training, offline_only=offline_only, keep=keep, progress=progress
        )
        if isinstance(found, ImageList):
            source = SOURCES[found.source]
            data = parts_of_list(found, source.read(offline_only), training=training)
            data = _at_resolution(data, resolution, framing)
        else:
            data = read_items(
                found, resolution, largest, framing, cache=cache, max_bad=max_bad, training=training, progress=progress
            )
    holdout = Holdout(val_share, seed, duplicates, folds, fold)
    return _with_validation(spec, data, holdout, flip=source is None or source.flip, training=training)


def _check_bounds(resolution: Resolution | None, largest: int, val_share: float, max_bad: float) -> None:
    if resolution is not None and min(sides(resolution)) < 1:
        raise DataError(f"the resolution must be at least 1 pixel, not {format_resolution(resolution)}")
    if largest < 1:
        raise DataError(f"the largest resolution must be at least 1 pixel, not {largest}")
    if not 0 < val_share < 1:
        raise DataError(f"the validation share must lie between 0 and 1, not {val_share:g}")
    if not 0 <= max_bad <= 1:
        raise DataError(f"the share of unreadable files must lie between 0 and 1, not {max_bad:g}")


def _with_validation(spec: str, data: Parts, holdout: Holdout, *, flip: bool, training: bool) -> Dataset:
    """Return read images as a data set: with validation images and statistics.

    Raises:
        DataError: Classes cannot be distinguished by their names, or there are too few images to validate on.
    """
    if twice := [name for name in data.classes if data.classes.count(name) > 1]:
        raise DataError(f"{printable(spec)}: two classes are both written {twice[0]!r}; rename one of them")
    test = data.test and _with_traits(data.test)
    data = replace(data, train=_with_traits(data.train), val=data.val and _with_traits(data.val))
    divided = divide(data, holdout, training=training)
    train, val = divided.train, divided.val
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
        unused=data.unused,
        default_flip=flip,
        framing=data.framing,
        held_out=divided.held_out,
        duplicates=divided.duplicates,
    )


def check_exists(spec: str) -> None:
    """Check that a source, folder, list or tar file exists, without opening it.

    Raises:
        DataError: It does not.
    """
    if spec in SOURCES:
        return
    if is_collection(spec):
        check_collection(spec)
    else:
        with existing(spec):
            pass


def labelled_images(
    spec: str,
    columns: Mapping[str, str | None] = NO_COLUMNS,
    *,
    training: bool = True,
    offline_only: bool = False,
    keep: bool = True,
    progress: Progress | None = None,
) -> LabelledItems | ImageList:
    """Return the images of data that is no source, as numbered items; a list itself where it names a source's images.

    Args:
        spec: A folder, a list, tar files, or a data set of Hugging Face.
        columns: Columns that were named, by the names of the fields of `Data`.
        training: Whether the images are to train on.
        offline_only: Whether downloads are forbidden.
        keep: Whether indices of tar files are kept on disk.
        progress: Called with the number of files read, their total and a description.

    Raises:
        DataError: The data does not exist, or is not as it must be.
        ArgumentError: A column was named that the data does not have.
    """
    if is_collection(spec):
        options = {"training": training, "offline_only": offline_only, "keep": keep}
        return open_collection(spec, columns, **options, progress=progress)
    with existing(spec) as path:
        found = find_in(path, columns, training=training)
        return labelled_files(found) if isinstance(found, Found) else found


def classes_of(spec: str, columns: Mapping[str, str | None] = NO_COLUMNS) -> tuple[str, ...]:
    """Return the names of the classes of data, without decoding images of files.

    Args:
        spec: A source, a folder, a list, tar files, or a data set of Hugging Face.
        columns: Columns that were named, by the names of the fields of `Data`.

    Raises:
        DataError: The data does not exist, or is not as it must be.
        ArgumentError: A column was named that the data does not have.
    """
    if spec in SOURCES:
        check_no_columns(columns, spec)
        return tuple(SOURCES[spec].read(False).classes)
    return tuple(labelled_images(spec, columns).classes)


def check_no_columns(columns: Mapping[str, str | None], data: str | Path) -> None:
    """Check that no columns are named for data that is no list.

    Raises:
        ArgumentError: A column is named.
    """
    if given := [name for name, column in columns.items() if column is not None]:
        raise ArgumentError(given[0], f"{printable(data)} is no list of images, which alone has columns; omit it")


def find_in(path: Path, columns: Mapping[str, str | None], *, training: bool = True) -> Found | ImageList:
    """Return the files of a folder or a list; the list itself where it names images of a source.

    Args:
        path: The folder or the list.
        columns: Columns of a list, by the names of the fields of `Data`.
        training: Whether the images are to train on.

    Raises:
        DataError: The folder or the list is not as it must be.
        ArgumentError: A column was named and `path` is a folder, or the list has no such column.
    """
    if path.is_dir():
        check_no_columns(columns, path)
        return find_images(path, training=training)
    images = read_list(path, columns)
    if images.source:
        return images
    found = files_of(images, training=training)
    if training and len(found.classes) < 2:
        raise DataError(
            f"{printable(path)} has one class only, {printable(found.classes[0])}; it must have two or more"
            if found.classes
            else f"{printable(path)} has no labels"
        )
    return found


@contextmanager
def existing(spec: str) -> Iterator[Path]:
    """Enter a context with the folder or the list that `spec` names.

    Raises:
        DataError: There is neither, or it cannot be read.
    """
    if spec.startswith(PREFIX):
        raise DataError(missing_images_message(spec))
    root = Path(spec).expanduser()
    try:
        if spec and (root.is_dir() or (is_list(spec) and root.is_file())):  # "" would be the current folder
            yield root
            return
        exists = bool(spec) and root.exists()
    except OSError as error:
        raise DataError(f"cannot read {printable(spec)}: {reason(error)}") from error
    if exists:
        raise DataError(
            f"{printable(spec)} is a file: the data must be a folder with a sub-folder per class, a list of images "
            "(.csv, .tsv, .jsonl or .parquet), or tar files"
        )
    near = difflib.get_close_matches(spec.lower(), SOURCES, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    kind = "list" if is_list(spec) else "folder"
    wanted = f"give a folder, a list of images, or {_listed(SOURCES)}"
    raise DataError(f"no {kind} {printable(spec) or repr(spec)} was found{guess}: {wanted}")


def _listed(names: Mapping[str, Source]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _read_source(source: Source, resolution: Resolution | None, framing: Framing, *, offline_only: bool) -> Parts:
    """Return a source's data at a resolution; None: at its own."""
    data = source.read(offline_only)
    if source.read_at is None:
        return _at_resolution(data, resolution, framing)
    size = data.train.size if resolution is None else sides(resolution)
    return replace(source.read_at(size, framing), framing=framing)


def _at_resolution(data: Parts, resolution: Resolution | None, framing: Framing) -> Parts:
    """Return a source's data at a resolution; None: at its own."""
    data = replace(data, framing=framing)
    if resolution is None:
        return data
    check_fits(sum(len(split or ()) for split in (data.train, data.val, data.test)), data.train.channels, resolution)
    val, test = (None if split is None else resized(split, resolution, framing) for split in (data.val, data.test))
    return replace(data, train=resized(data.train, resolution, framing), val=val, test=test)


def resized(split: Split, resolution: Resolution, framing: Framing = Framing()) -> Split:
    """Return images resized to a resolution, exactly as when their source is opened at it, or a file is read."""
    if sides(resolution) == split.size and framing.crop == 1:
        return split
    pixels = torch.empty(len(split), split.channels, *sides(resolution), dtype=torch.uint8)
    for source, target in zip(torch.split(split.images, CHUNK), torch.split(pixels, CHUNK), strict=True):
        target.copy_(resized_pixels(source, sides(resolution), framing))
    return replace(split, store=pixels, rows=None, known=None)


def _with_traits(split: Split) -> Split:
    """Return a split with its traits, which both fingerprint and statistics need."""
    return replace(split, known=split.traits())

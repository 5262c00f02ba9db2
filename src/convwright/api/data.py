"""Data: opened and surveyed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from convwright.arch.resolution import SIZE, Resolution
from convwright.bounds import DURATION, GIGABYTES
from convwright.data.framing import Duplicates, Resize
from convwright.data.shares import SHARES
from convwright.errors import ArgumentError, DataError, argument
from convwright.options import Bounds, Group, checks_arguments
from convwright.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from typing import TypeAlias

    from torch.utils.data import Dataset as TorchDataset

    TorchData: TypeAlias = TorchDataset[Any] | Mapping[str, TorchDataset[Any]]
    from numpy.typing import ArrayLike

    from convwright.data.arrays import InMemoryImages
    from convwright.data.opened import Data
    from convwright.data.splitting import DataSplit
    from convwright.data.survey import Survey

__all__ = ["open_data", "split", "survey"]

LISTS = Group("Columns of a list of images")


@checks_arguments
def open_data(
    data: "str | Path | TorchData | None" = None,
    *,
    images: "ArrayLike | None" = None,
    labels: "ArrayLike | None" = None,
    val_images: "ArrayLike | None" = None,
    val_labels: "ArrayLike | None" = None,
    test_images: "ArrayLike | None" = None,
    test_labels: "ArrayLike | None" = None,
    classes: Sequence[str] | None = None,
    flip: bool = True,
    val_share: Annotated[float, Bounds(gt=0, lt=1)] = 0.1,
    seed: Annotated[int, Bounds(ge=-LARGEST_SEED, le=LARGEST_SEED)] = 0,
    duplicates: Duplicates = "together",
    max_bad: Annotated[float, Bounds(ge=0, le=1)] = 0.1,
    cache_gb: Annotated[float, GIGABYTES] | None = None,
    resolution: Annotated[Resolution | None, SIZE] = None,
    resize: Resize = "crop",
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    weight_column: str | None = None,
    label_separator: str | None = None,
) -> "Data":
    """Open labelled images.

    Images are decoded when they are needed. In a notebook the result shows classes, counts, sizes, problems and a
    contact sheet.

    Args:
        data: A folder with a sub-folder per class; a list of images with labels (.csv, .tsv, .jsonl or .parquet); tar
            files in WebDataset's convention, such as `shards/{000..146}.tar`; a folder of Hugging Face's `save_to_disk`
            or `hf:` and a name; the name of a built-in data set: fashion-mnist, cifar10, cifar100, digits, or one
            that an installed package provides; or a data set of torch with a length and numbered items, of which each
            is read once, into memory, or a dictionary of them by split.
        images: Training images instead of `data`, as one array or tensor: N x H x W, N x H x W x C or
            N x C x H x W, uint8, or floats from 0 to 1.
        labels: Their labels: numbers or names of classes; for multi-label data, a boolean array
            N x classes or a list of lists of names.
        val_images: Validation images; by default, a share of `images` is held out.
        val_labels: Their labels.
        test_images: Test images.
        test_labels: Their labels.
        classes: Names of the classes of `labels`, by number; by default, those of the labels, sorted.
        flip: Whether a mirrored image of `images` still shows its class.
        val_share: Share of the training images that is held out for validation, where the data has no validation split.
        seed: Seed of the held-out share.
        duplicates: Images with equal pixels in the held-out share: `together`, on the same side, or `apart`, as drawn.
        max_bad: Largest share of unreadable files, which are skipped and listed; above it the data is refused.
        cache_gb: Most gigabytes that decoded images may take on disk; 20 by default, 0 for no cache.
        resolution: Side of the images in pixels, or (height, width); their median short side by default, at most 224.
        resize: How images of other proportions are resized: `crop` fits the short side and cuts the centre, `pad` adds
            grey borders, `squash` changes the proportions.
        path_column: Column of a list with the images' paths, relative to the list; by default `path`, `file`, `image`
            or a similar name.
        label_column: Column of a list with the classes; by default `label`, `class`, `category` or a similar name.
        split_column: Column of a list with `train`, `val` or `test`; by default `split`, if there is one.
        group_column: Column of a list whose equal values stay in one split; by default `group`, if there is one.
        weight_column: Column of a list with the images' weights in the loss; by default `weight`, if there is one.
        label_separator: Text between several labels in a cell of a list, and empty where a cell is one label; by
            default `|` or `;` where the parts are labels of other images too.

    Returns:
        The data, with its classes, splits and survey.

    Raises:
        DataError: There is no such folder, list or built-in data set.
        ArgumentError: The images or labels are not as they must be.

    Example:
        >>> data = cw.open_data("digits")
        >>> len(data.classes), len(data.test)
        (10, 359)

        Arrays:

        >>> rng = np.random.default_rng(0)
        >>> noise = cw.open_data(images=rng.random((40, 16, 16, 3)), labels=["cat", "dog"] * 20)
        >>> noise.classes, len(noise.train), len(noise.val)
        (('cat', 'dog'), 36, 4)
    """
    from convwright.data.opened import Data

    arrays = {"images": images, "labels": labels, "val_images": val_images, "val_labels": val_labels}
    arrays |= {"test_images": test_images, "test_labels": test_labels}
    held = _held(data, arrays, classes, flip)
    return Data(
        str(data) if held is None else held.spec,
        val_share=val_share,
        max_bad=max_bad,
        seed=seed,
        duplicates=duplicates,
        cache_gb=cache_gb,
        resolution=resolution,
        resize=resize,
        path_column=path_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
        weight_column=weight_column,
        label_separator=label_separator,
        held=held,
    )


def _held(
    data: "str | Path | TorchData | None", arrays: dict[str, Any], classes: Sequence[str] | None, flip: bool
) -> "InMemoryImages | None":
    """Return images that are given in Python, checked; None for data that is named, which exists."""
    is_named = isinstance(data, str | Path)
    without_data = arrays if data is not None and not is_named else arrays | {"classes": classes}
    given = [name for name, value in without_data.items() if value is not None]
    if data is not None and given:
        raise ArgumentError(given[0], "cannot be given beside `data`; give one of them")
    if given:
        return _held_arrays(arrays, classes, flip)
    if data is None:
        raise ArgumentError("data", "missing; give a folder, the name of a built-in data set, or `images` and `labels`")
    if not is_named:
        from convwright.data.torch_datasets import hold_datasets

        return hold_datasets(data, classes, flip=flip)
    from convwright.data.sources import check_exists

    with argument("data"):
        check_exists(str(data))
    return None


def _held_arrays(arrays: dict[str, Any], classes: Sequence[str] | None, flip: bool) -> "InMemoryImages":
    """Return images and labels in memory, checked."""
    from convwright.data.arrays import hold, parts_of_arrays
    from convwright.data.registry import fault_of

    images = [arrays[name] for name in ("images", "val_images", "test_images")]
    parts = parts_of_arrays(images, [arrays[name] for name in ("labels", "val_labels", "test_labels")], classes)
    if fault := fault_of(parts):
        raise DataError(f"the given images cannot be trained on: {fault}")
    return hold(parts, flip)


@checks_arguments
def survey(
    data: "Data | str | Path",
    *,
    path_column: Annotated[str | None, LISTS] = None,
    label_column: Annotated[str | None, LISTS] = None,
    split_column: Annotated[str | None, LISTS] = None,
    group_column: Annotated[str | None, LISTS] = None,
    weight_column: Annotated[str | None, LISTS] = None,
    label_separator: Annotated[str | None, LISTS] = None,
    minutes: Annotated[float | None, DURATION] = None,
) -> "Survey":
    """Survey a data set before training on it: counts, sizes, unreadable and duplicate images, leakage between splits.

    Every file is opened once.

    Args:
        data: A folder with a sub-folder per class; a list of images with labels (.csv, .tsv, .jsonl or .parquet); or
            the name of a built-in data set: fashion-mnist, cifar10, cifar100, digits, or one that an installed package
            provides.
        path_column: Column of a list with the images' paths, relative to the list; by default `path`, `file`, `image`
            or a similar name.
        label_column: Column of a list with the classes; by default `label`, `class`, `category` or a similar name.
        split_column: Column of a list with `train`, `val` or `test`; by default the column split, if there is one.
        group_column: Column of a list whose equal values stay in one split; by default the column group, if there is
            one.
        weight_column: Column of a list with the images' weights in the loss; by default `weight`, if there is one.
        label_separator: Text between several labels in a cell of a list, and empty where a cell is one label; by
            default `|` or `;` where the parts are labels of other images too.
        minutes: Time for training, which the advice depends on.

    Returns:
        Counts by split and class, sizes, problems, files that are not used, and how to train on the images: `advise`.

    Raises:
        DataError: There is no such data, or its folders are not laid out by class.

    Example:
        >>> found = cw.survey("digits")
        >>> sum(found.counts["train"]), found.advice.network
        (1438, 'cifar_seresnet14')
        >>> [problem.kind for problem in found.problems]
        []
    """
    from dataclasses import replace

    from convwright.training.advice import advise
    from convwright.training.request import TrainRequest

    with argument("data"):
        columns = path_column, label_column, split_column, group_column, weight_column, label_separator
        opened = _with_columns(data, *columns)
        found = opened.survey
        with suppress(DataError):  # training is refused, and the problems say why
            found = replace(found, advice=advise(TrainRequest(data=opened, minutes=minutes)))
    return found


@checks_arguments
def split(
    data: "Data | str | Path",
    shares: Annotated[tuple[float, ...], SHARES] = (0.8, 0.1, 0.1),
    *,
    out: str | Path | None = None,
    seed: Annotated[int, Bounds(ge=-LARGEST_SEED, le=LARGEST_SEED)] = 0,
    group: str | None = None,
    pattern: str | None = None,
) -> "DataSplit":
    """Split images into training, validation and test images, and write them as a list.

    The split is stratified by class and depends on the seed. Groups of images stay together, and so do exact
    duplicates and near-duplicates: such a test image would show nothing about new images. The files stay where they
    are.

    Args:
        data: A folder with a sub-folder per class, a list of images (.csv, .tsv, .jsonl or .parquet), or a built-in
            data set, all images of which are split anew.
        shares: Shares of training, validation and test images; two numbers are those of training and test images.
        out: File of the list (.csv), which `data` takes; by default none is written.
        seed: Seed of the split.
        group: Column of a list whose equal values stay in one split; by default the column group, if there is one.
        pattern: Regular expression for the paths: images stay together whose paths have the same text in the first
            capture group, or in the whole match if there is no capture group. `(patient[0-9]+)_` keeps the images of a
            patient together.

    Returns:
        The images with their splits, and counts by split and class.

    Raises:
        ArgumentError: The data is split already, or an argument has a wrong value.
        DataError: There is no such data, or a split would have no images.

    Example:
        >>> cw.split("photos", (0.5, 0.25, 0.25), out="split.csv").counts
        {'train': [12, 12], 'val': [6, 6], 'test': [6, 6]}
    """
    from dataclasses import replace

    from convwright.data.opened import Data
    from convwright.data.splitting import check_out, split_data
    from convwright.display.progress import counting

    opened, file = Data.of(data), None if out is None else Path(out)
    check_out(file, opened.spec)
    with argument("data"), counting() as progress:
        found = split_data(
            opened.spec, shares, seed=seed, group=group, pattern=pattern, columns=opened.columns, progress=progress
        )
        if file is not None:
            found.save(file)
    return replace(found, out=file)


def _with_columns(data: "Data | str | Path", *names: str | None) -> "Data":
    """Return data with the columns of a list that are given."""
    from dataclasses import replace

    from convwright.data.opened import COLUMNS, Data

    given: dict[str, Any] = {column: name for column, name in zip(COLUMNS, names, strict=True) if name is not None}
    return replace(Data.of(data), **given) if given else Data.of(data)

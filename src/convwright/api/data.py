"""Data: opened and surveyed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.errors import argument
from convwright.options import Bounds, checks_arguments
from convwright.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from convwright.data.opened import Data
    from convwright.data.survey import Survey

__all__ = ["open_data", "survey"]


@checks_arguments
def open_data(
    data: str | Path,
    *,
    val_share: Annotated[float, Bounds(gt=0, lt=1)] = 0.1,
    seed: Annotated[int, Bounds(ge=-LARGEST_SEED, le=LARGEST_SEED)] = 0,
    max_bad: Annotated[float, Bounds(ge=0, le=1)] = 0.1,
    cache_gb: Annotated[float, Bounds(ge=0)] | None = None,
    resolution: Annotated[int, Bounds(ge=1)] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    weight_column: str | None = None,
) -> "Data":
    """Open labelled images.

    Images are decoded when they are needed. In a notebook the result shows classes, counts, sizes, problems and a
    contact sheet.

    Args:
        data: A folder with a sub-folder per class; a list of images with labels (.csv, .tsv, .jsonl or .parquet); or
            the name of a source: fashion-mnist, cifar10, cifar100, digits, or one that an installed package provides.
        val_share: Share of the training images that is held out for validation, where the data has no validation split.
        seed: Seed of the held-out share.
        max_bad: Largest share of files that may be unreadable.
        cache_gb: Most gigabytes that decoded images may take on disk; 20 by default, 0 for no cache.
        resolution: Height and width of the images in pixels; their median short side by default, at most 224.
        path_column: Column of a list with the images' paths, relative to the list; by default `path`, `file`, `image`
            or a similar name.
        label_column: Column of a list with the classes; by default `label`, `class`, `category` or a similar name.
        split_column: Column of a list with `train`, `val` or `test`; by default `split`, if there is one.
        group_column: Column of a list whose equal values stay in one split; by default `group`, if there is one.
        weight_column: Column of a list with the images' weights in the loss; by default `weight`, if there is one.

    Returns:
        The data, with its classes, splits and survey.

    Raises:
        DataError: There is no such folder or source.

    Example:
        >>> data = cw.open_data("digits")
        >>> len(data.classes), len(data.test)
        (10, 359)
    """
    from convwright.data.opened import Data
    from convwright.data.sources import check_exists

    with argument("data"):
        check_exists(str(data))
    return Data(
        str(data),
        val_share,
        max_bad,
        seed,
        cache_gb,
        resolution,
        path_column,
        label_column,
        split_column,
        group_column,
        weight_column,
    )


@checks_arguments
def survey(data: "Data | str | Path") -> "Survey":
    """Survey a data set before training on it: counts, sizes, unreadable and duplicate images, leakage between splits.

    Every file is opened once.

    Args:
        data: A folder with a sub-folder per class, or the name of a source: fashion-mnist, cifar10, cifar100, digits,
            or one that an installed package provides.

    Returns:
        Counts by split and class, sizes, problems, and a resolution and batch size to begin with.

    Raises:
        DataError: There is no such data, or its folders are not laid out by class.

    Example:
        >>> found = cw.survey("digits")
        >>> sum(found.counts["train"]), found.suggested_resolution
        (1438, 8)
        >>> [problem.kind for problem in found.problems]
        []
    """
    from dataclasses import replace

    from convwright.data.opened import Data
    from convwright.training.plan import default_batch_size

    with argument("data"):
        found = Data.of(data).survey
    return replace(found, suggested_batch_size=default_batch_size(sum(found.counts["train"])))

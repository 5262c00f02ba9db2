"""The data that a run was trained on, opened again, and other data for the same network."""

from dataclasses import replace
from pathlib import Path

from convwright.data import SOURCES, Dataset
from convwright.data.lists import columns_of, is_list
from convwright.data.opened import COLUMNS, Data
from convwright.training.run import Run


def open_run_data(
    run: Run,
    data: Data | str | Path | None = None,
    *,
    cache_gb: float | None = None,
    to_train: bool = False,
    training: bool = True,
) -> Dataset:
    """Open the images of a run, or others at the same resolution and with the same normalisation.

    Args:
        run: The run.
        data: A folder, list or built-in data set with the same classes, or data with options; None: the run's own data.
        cache_gb: Most gigabytes that decoded images may take on disk; None: the limit of `data`, or the usual one.
        to_train: Whether the run is resumed, so that random resized crops need larger training images.
        training: Whether other data must be such that it can be trained on. To evaluate, any images of any of the
            run's classes will do.

    Raises:
        DataError: The data cannot be opened.
    """
    chosen = data_for(run, data)
    if cache_gb is not None:
        chosen = replace(chosen, cache_gb=cache_gb)
    own = data is None or is_own(run, data)
    opened = chosen.dataset(run.config.resolution, framing=run.framing, training=training or own)
    if to_train and run.data.crops_from is not None:
        opened = chosen.with_larger(opened, run.config.recipe.crop_scale)
    return run.data.normalising(opened) if run.initial.exists() else opened


def data_for(run: Run, data: Data | str | Path | None = None) -> Data:
    """Return data with the options that it is opened with for a run.

    The run's own data has the run's validation images, however it is given, so that none of them was trained on. Other
    data keeps the options of a `Data`; a folder, list or built-in data set without options has those of the run. The
    columns for paths and labels of another list are those of the run where none are given.

    Args:
        run: The run.
        data: A folder, list or built-in data set, or data with options; None: the run's own data.
    """
    config = run.config
    own = data is None or is_own(run, data)
    spec = config.data if data is None else Data.of(data).spec
    named = COLUMNS if own else ("path_column", "label_column", "label_separator") if is_list(spec) else ()
    columns = {name: getattr(config, name) for name in named}
    if isinstance(data, Data) and not own:
        return replace(data, **{name: column for name, column in columns.items() if getattr(data, name) is None})
    of_run = Data(
        spec, val_share=config.val_share, max_bad=config.max_bad, seed=config.data_seed, **columns, resize=config.resize
    )
    if own:
        of_run = replace(of_run, folds=config.folds, fold=config.fold, duplicates=config.duplicates)
    return replace(of_run, cache_gb=data.cache_gb, max_bad=data.max_bad) if isinstance(data, Data) else of_run


def is_own(run: Run, data: Data | str | Path) -> bool:
    """Whether data is what a run was trained on: the same images with labels of the same column.

    Args:
        run: The run.
        data: A folder, list or built-in data set, or data with options.
    """
    given, own = Data.of(data), run.config.data
    if given.spec in SOURCES or own in SOURCES:
        return given.spec == own
    same = given.spec == own or Path(given.spec).expanduser().resolve() == Path(own).expanduser().resolve()
    return same and _has_columns_of(run, given)


def _has_columns_of(run: Run, data: Data) -> bool:
    """Whether the columns that are named for a run's data are those that the run was trained by."""
    before = {name: getattr(run.config, name) for name in COLUMNS}
    named = {name: column for name, column in data.columns.items() if column is not None}
    if before == before | named:
        return True
    if not is_list(data.spec) or not (path := Path(data.spec).expanduser()).is_file():
        return False
    found = columns_of(path, before)
    return found == found | named

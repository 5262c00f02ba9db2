"""The data that a run was trained on, opened again."""

from convwright.data import Dataset
from convwright.data.sources import open_dataset
from convwright.display.progress import counting
from convwright.training.run import Run


def open_run_data(run: Run, data: str | None = None, *, cache_gb: float | None = None) -> Dataset:
    """Open the images of a run, or others in the same way: same resolution, splits and normalisation.

    Args:
        run: The run.
        data: A folder or source with the same classes; by default the run's own data.
        cache_gb: Most gigabytes that decoded images may take on disk; None: the usual limit.

    Raises:
        DataError: The data cannot be opened.
    """
    config = run.config if data is None else run.config.model_copy(update={"data": data})
    with counting() as progress:
        opened = open_dataset(
            config.data,
            resolution=config.resolution,
            val_share=config.val_share,
            seed=config.seed,
            max_bad=config.max_bad,
            cache_gb=cache_gb,
            progress=progress,
        )
    return run.data.normalising(opened) if run.initial.exists() else opened

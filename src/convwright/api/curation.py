"""Curation of data sets: `cw.curate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.errors import argument
from convwright.options import Bounds, checks_arguments
from convwright.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from convwright.curation.result import Curation
    from convwright.data.opened import Data
    from convwright.training.run import Run

__all__ = ["curate"]


@checks_arguments
def curate(
    data: "Data | str | Path",
    *,
    features: "str | Path | Run | None" = None,
    folds: Annotated[int, Bounds(ge=2, le=20)] = 3,
    seed: Annotated[int, Bounds(ge=-LARGEST_SEED, le=LARGEST_SEED)] = 0,
    accept: str | Path = "confident",
    out: Path | None = None,
) -> "Curation":
    """Find near-duplicates, label errors, images unlike their class and outliers, and write a corrected list.

    No image and no list of yours is changed. Label errors need cleanlab (extra `curation`).

    Args:
        data: A folder with a sub-folder per class; a list of images with labels; or the name of a built-in data set.
        features: What images are compared by: a network with published weights, such as efficientnet_lite0; a run
            directory; `trained`, for small networks that are trained here; or `pixels`. By default, efficientnet_lite0,
            whose weights are installed with Convwright, for colour images of more than 40 pixels, else `trained`.
        folds: Number of folds, each of which is predicted by a model that was trained on the other folds.
        seed: Seed of folds and training.
        accept: Proposals that the list follows: `confident`, where independent signs agree; `all`; `none`; or a file of
            decisions that the page wrote, with which nothing is computed again. Without such a file, test images are
            never changed.
        out: List to write, .csv or .tsv, with the columns path, label, split, decision and original_label.

    Returns:
        The suspects by kind, the surest first.

    Raises:
        DataError: There is no such data.
        UsageError: A package is missing, or the features do not exist.

    Example:
        >>> found = cw.curate("digits", features="pixels")
        >>> found.suspects[0].name, found.suspects[0].label, found.suspects[0].proposed_class
        ('train/1236', '8', '1')
    """
    from convwright.curation.curating import curate_data
    from convwright.data.opened import Data
    from convwright.display.progress import counting
    from convwright.places import check_file

    if out is not None:
        out = Path(out).expanduser()
        check_file("out", out)
    with argument("data"):
        opened = Data.of(data)
    with counting() as progress:
        return curate_data(opened, features, folds, seed, str(accept), out, progress)

"""What a design finds out about its images before it uses them: counts, sizes, and problems of the survey."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from convwright.data import SOURCES, Dataset
from convwright.data.opened import Data
from convwright.data.splitting import TooFewGroupsError, split_data
from convwright.designing.request import SPLIT, DesignRequest
from convwright.designing.state import State
from convwright.display.progress import counting
from convwright.display.wording import counted
from convwright.errors import ArgumentError, DataError

MOST_NAMED = 3
"""Most files that cannot be read and are named."""
SHARES = 0.8, 0.1, 0.1
"""Shares of training, validation and test images of data that has no test images."""
SURVEY_SECONDS_PER_IMAGE = 0.006
"""Seconds in which an image file is surveyed, on a slow machine."""
SURVEY_SHARE = 0.05
"""Largest share of a design's time that the survey may take."""


@dataclass(frozen=True)
class ImageFacts:
    """Counts, sizes and problems of a design's images."""

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    """Images of each class by split."""
    resolution: int | tuple[int, int]
    channels: int
    problems: tuple[str, ...] = ()
    """A sentence on each problem that the survey found, the worst first."""
    surveyed: bool = True
    """Whether there was time for the survey."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `from_dict` makes equal facts."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ImageFacts":
        """Return facts from what `to_dict` returned."""
        size = stored["resolution"]
        return cls(
            tuple(stored["classes"]),
            {name: tuple(counts) for name, counts in stored["counts"].items()},
            tuple(size) if isinstance(size, list) else size,
            stored["channels"],
            tuple(stored["problems"]),
            stored["surveyed"],
        )


def examine(data: Data, dataset: Dataset, seconds: float, report: Callable[[str], None]) -> ImageFacts:
    """Return what can be said about a design's images; every file is opened if the time allows it.

    Args:
        data: The images.
        dataset: The images, decoded.
        seconds: Time of the whole design.
        report: Called with a line for each problem.

    Raises:
        DataError: The images cannot be read.
    """
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    existing = {name: split for name, split in splits.items() if split is not None}
    number = len(dataset.classes)
    counts = {name: tuple(map(int, split.class_counts(number).tolist())) for name, split in existing.items()}
    images = sum(map(len, existing.values()))
    in_memory = data.spec in SOURCES or data.held is not None
    surveyed = in_memory or images * SURVEY_SECONDS_PER_IMAGE <= SURVEY_SHARE * seconds
    problems: list[str] = []
    if surveyed:
        for problem in data.survey.problems:
            problems.append(problem.text)
            report(f"warning: {problem.text}")
    else:
        report(
            f"skipping the search for duplicates and other problems in {counted(images, 'image')}: too little time; "
            "`convwright data` runs it"
        )
    return ImageFacts(dataset.classes, counts, dataset.resolution, dataset.channels, tuple(problems), surveyed)


def open_images(request: DesignRequest, state: State, report: Callable[[str], None]) -> tuple[Data, Dataset]:
    """Open the images of a design; where they are not split, set test and validation images aside first.

    Args:
        request: The request.
        state: The design, which records that, and which files were left out.
        report: Called with a line for each file that was left out, and for the rest of them.

    Returns:
        The data with the split, and its decoded images.

    Raises:
        DataError: The images cannot be opened, or be split.
    """
    data = request.split_data
    dataset = data.dataset()
    if not state.fingerprint:
        _record_skipped(dataset, state, report)
    path = request.out / SPLIT
    if dataset.test is not None or path.exists():
        return data, dataset
    with counting() as progress:
        try:
            split = split_data(
                request.data.spec, SHARES, seed=request.seed, columns=request.data.columns, progress=progress
            )
        except (ArgumentError, DataError) as error:
            images = f"{len(dataset.train) + len(dataset.val):,} images in {len(dataset.classes)} classes"
            why = f"cannot be split ({error.reason})" if isinstance(error, ArgumentError) else "are too few to split"
            if isinstance(error, TooFewGroupsError) and error.duplicates:
                why += f", as {error.duplicates:,} are duplicates or near-duplicates of others, which stay in one split"
            raise DataError(
                f"{dataset.name}: no test images found, and its {images} {why}; add test images in a folder `test`, or "
                "more images: a design measures its winner on images that influence no choice"
            ) from None
        split.save(path)
    state.decide(
        "data",
        f"{100 * SHARES[2]:.0f} % of the images are set aside for the test, and {100 * SHARES[1]:.0f} % for validation",
        "the data has no test images; exact duplicates and near-duplicates are kept in one split",
    )
    data = request.split_data
    return data, data.dataset()


def _record_skipped(dataset: Dataset, state: State, report: Callable[[str], None]) -> None:
    """Report and record the files that cannot be read as images."""
    if not dataset.skipped:
        return
    for line in dataset.skipped[:MOST_NAMED]:
        report(f"warning: skipped {line}")
    if (more := len(dataset.skipped) - MOST_NAMED) > 0:
        report(f"warning: and {more:,} more that could not be read")
    state.decide("data", f"{counted(len(dataset.skipped), 'file')} left out", f"cannot be read: {dataset.skipped[0]}")

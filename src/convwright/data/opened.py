"""A name or a folder of images with options, which are opened and decoded when the images are needed."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright.arch.resolution import Resolution, sides
from convwright.data.framing import Duplicates, Framing, Resize
from convwright.display.result import Block, Result

if TYPE_CHECKING:
    from convwright.data.dataset import Dataset, Split
    from convwright.data.survey import Survey


COLUMNS = ("path_column", "label_column", "split_column", "group_column", "weight_column", "label_separator")
"""Fields of `Data`, requests and configurations about the columns of a list."""


@dataclass(frozen=True)
class Data(Result):
    """Labelled images, before a resolution is chosen for them.

    Its text and its view in notebooks are those of its survey, which opens every file once when it is needed.
    """

    spec: str
    """A folder with a sub-folder per class, a list of images with labels, or the name of a source."""
    val_share: float = 0.1
    """Share of the training images held out for validation, where the folder has no `val`."""
    max_bad: float = 0.1
    """Largest share of files that may be unreadable."""
    seed: int = 0
    """Seed of the held-out share."""
    cache_gb: float | None = None
    """Most gigabytes that decoded images may take on disk; None: 20."""
    resolution: Resolution | None = None
    """Side in pixels, or (height, width); None: the images' own, up to 224."""
    path_column: str | None = None
    """Column of a list with the images' paths; None: found by its name."""
    label_column: str | None = None
    """Column of a list with the classes; None: found by its name."""
    split_column: str | None = None
    """Column of a list with `train`, `val` or `test`; None: found by its name, if there is one."""
    group_column: str | None = None
    """Column of a list whose equal values stay in one split; None: found by its name, if there is one."""
    weight_column: str | None = None
    """Column of a list with the images' weights in the loss; None: found by its name, if there is one."""
    label_separator: str | None = None
    """Text between labels in a cell of a list; empty: a cell is one label; None: `|` or `;` where that is safe."""
    resize: Resize = "crop"
    """`crop` fits the short side and cuts the centre, `pad` adds grey borders, `squash` changes the proportions."""
    folds: int | None = None
    """Parts for cross-validation, into which training and validation images are split together; None: none."""
    fold: int | None = None
    """The part to validate on, from 1."""
    duplicates: Duplicates = "together"
    """Images with equal pixels in the held-out share: `together`, on the same side, or `apart`, as drawn."""
    held: Any = field(default=None, repr=False, compare=False)
    """Images that were given in Python, which exist as long as this object does; None: there are none."""
    _opened: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Data sets by resolution and framing. Their type is left open: pydantic, which reads it, would load torch."""

    def options(self) -> dict[str, object]:
        """Return the options that are not the usual ones, as fields of `TrainRequest`."""
        names, usual = (
            ("val_share", "max_bad", "cache_gb", "resolution", "resize", "folds", "fold", "duplicates", *COLUMNS),
            Data(self.spec),
        )
        found = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)}
        return found | ({"split_seed": self.seed} if self.seed else {})

    @property
    def columns(self) -> dict[str, str | None]:
        """Columns of a list that were named, by field."""
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def of(cls, value: Any) -> "Data":
        """Return a value if it is data already, else the data of a folder, a source, or a data set of torch."""
        if isinstance(value, Data):
            return value
        if isinstance(value, str | Path):
            return cls(str(value))
        from convwright.data.torch_datasets import hold_datasets

        held = hold_datasets(value)
        return cls(held.spec, held=held)

    def dataset(
        self,
        resolution: Resolution | None = None,
        *,
        largest: Resolution = 224,
        framing: Framing | None = None,
        training: bool = True,
    ) -> "Dataset":
        """Return the decoded images.

        Args:
            resolution: Side in pixels, or (height, width); None: that of the data, or the images' own.
            largest: Largest resolution, where the images' own is chosen. That of images that are not square is taken.
            framing: How a run reads images; None: as `resize` says.
            training: Whether the images are to train on. To evaluate, any number of images of any classes will do; the
                splits `train` and `val` may have no images.

        Raises:
            DataError: The data cannot be opened.
        """
        size = resolution or self.resolution or (largest if isinstance(largest, tuple) else None)
        return self._open(size, min(sides(largest)), framing, training=training)

    def with_larger(self, dataset: "Dataset", smallest: float) -> "Dataset":
        """Return a data set whose training images are also there at a larger size, for random resized crops.

        Args:
            dataset: The data at the resolution of the network.
            smallest: Least share of an image's area that a crop shows; 0: there are no crops.

        Raises:
            DataError: The images have changed meanwhile.
        """
        from convwright.data.larger import enlarged, with_larger

        if not smallest:
            return dataset
        wanted = enlarged(dataset.resolution, smallest)
        if isinstance(wanted, int):
            own = self._open(None, wanted, dataset.framing)  # no larger than the images are
            if isinstance(own.resolution, int):
                return with_larger(dataset, own)
        return with_larger(dataset, self._open(wanted, max(sides(wanted)), dataset.framing))

    def _open(
        self, resolution: Resolution | None, largest: int, framing: Framing | None, *, training: bool = True
    ) -> "Dataset":
        from convwright.data.sources import open_dataset
        from convwright.display.progress import counting

        key = resolution, None if resolution else largest, framing, training
        if key not in self._opened:
            with counting() as progress:
                self._opened[key] = open_dataset(
                    self.spec,
                    resolution=resolution,
                    largest=largest,
                    framing=framing or Framing(resize=self.resize),
                    val_share=self.val_share,
                    seed=self.seed,
                    folds=self.folds,
                    fold=self.fold,
                    duplicates=self.duplicates,
                    max_bad=self.max_bad,
                    cache_gb=self.cache_gb,
                    columns=self.columns,
                    training=training,
                    progress=progress,
                )
        dataset: Dataset = self._opened[key]
        return dataset

    @cached_property
    def survey(self) -> "Survey":
        """Counts, sizes, duplicates and problems; every file is opened when this is first used.

        Raises:
            DataError: The data cannot be opened.
        """
        from convwright.data.survey import survey_data
        from convwright.display.progress import counting

        with counting() as progress:
            found = survey_data(self.spec, progress, max_bad=self.max_bad, columns=self.columns)
            return replace(found, resize=self.resize)

    def to_dict(self) -> dict[str, object]:
        """Return counts, sizes, duplicates and problems of the survey."""
        return self.survey.to_dict()

    def blocks(self) -> Iterable[Block]:
        """Yield what the survey shows."""
        return self.survey.blocks()

    def save_html(self, path: str | Path) -> None:
        """Write the survey's page as one HTML file.

        Args:
            path: The file; it is replaced if it exists.
        """
        self.survey.save_html(path)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, found without decoding images.

        Raises:
            DataError: The data cannot be opened.
        """
        from convwright.data.sources import classes_of

        return self.classes if self.held is not None else classes_of(self.spec, self.columns)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.dataset().classes

    @property
    def train(self) -> "Split":
        """The training images, at the images' own resolution."""
        return self.dataset().train

    @property
    def val(self) -> "Split":
        """The validation images."""
        return self.dataset().val

    @property
    def test(self) -> "Split | None":
        """The test images, if there are any."""
        return self.dataset().test

"""The records in a run directory, and the check of everything that is read back from them."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from convwright import json_text
from convwright.arch.resolution import format_resolution, resolution_of
from convwright.brief import Brief
from convwright.data import Dataset
from convwright.data.framing import Framing, Resize
from convwright.display.wording import counted
from convwright.errors import RunError
from convwright.training.problems import NEWER, first_problem

Record = TypeVar("Record")
METRICS_VERSION, MULTI_LABEL_METRICS_VERSION = 1, 2
"""Versions of the format of `metrics.csv`, in the column `schema_version`; files without the column have version 1.
Version 2 is that of multi-label runs."""
CHECKPOINT_VERSION = 1
"""Version of the format of checkpoints; those without one have version 1."""
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "images_per_second",
    "seconds",
)
"""Columns of `metrics.csv`; those of later versions may follow."""
MULTI_LABEL_COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "val_loss",
    "val_map",
    "images_per_second",
    "seconds",
)
"""Columns of a multi-label run: mean average precision instead of accuracy."""
MAYBE_NOT_FINITE = ("train_loss", "val_loss", "val_accuracy", "val_map")
"""Columns with NaN where a validation's outputs were not finite; earlier versions also wrote infinite losses."""

Positive = Annotated[int, Field(gt=0)]
Pair = Annotated[
    tuple[Positive, Positive], BeforeValidator(lambda value: tuple(value) if type(value) is list else value)
]
Size = Positive | Pair
"""Side of square images, or height and width."""
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Names = Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class ClassNames:
    """The classes in the order of the network's outputs: `classes.json`. Version 1 is a list of the names alone."""

    classes: Names
    schema_version: Literal[2] = 2
    """Version of the format."""


NEWER_FACTS = frozenset({"multi_label", "resize", "decoder", "integer_range", "float_range", "crops_from"})
"""Fields of `DataFacts` that version 1 of the file does not have."""


@dataclass(frozen=True, config=STRICT)
class DataFacts(Brief):
    """Properties of the training data that inference needs: `data.json`."""

    fingerprint: str
    channels: Positive
    resolution: Size
    mean: tuple[float, ...]
    """By channel, on the scale 0 to 1."""
    std: tuple[Annotated[float, Field(gt=0)], ...]
    images: dict[str, Count]
    """Number of images by split."""
    multi_label: bool = False
    """Whether an image may have several classes, or none."""
    resize: Resize = "crop"
    """How images of other proportions become the network's input."""
    decoder: Literal[1, 2] = 1
    """Version of the decoder that read the images; files of version 1 do not name theirs."""
    integer_range: tuple[float, float] | None = None
    """Range of the values of 32-bit images."""
    float_range: tuple[float, float] | None = None
    """Range of the values of floating-point images."""
    crops_from: Size | None = None
    """Size of the training images that random resized crops are cut from, where it is not `resolution`."""
    schema_version: Literal[1, 2] = 1
    """Version of the format; version 1 has no field after `images`."""

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std must have a value for each channel, {self.channels} in all")
        if not {"train", "val"} <= self.images.keys():
            raise ValueError("images must have a number for train and for val")

    @classmethod
    def of(cls, data: Dataset) -> "DataFacts":
        """Return the facts of a data set."""
        splits = {"train": data.train, "val": data.val, "test": data.test}
        counts = {name: len(split) for name, split in splits.items() if split is not None}
        framing = data.framing
        return cls(
            data.fingerprint,
            data.channels,
            data.resolution,
            data.mean,
            data.std,
            counts,
            data.multi_label,
            framing.resize,
            1 if framing.decoder == 1 else 2,
            framing.integer_range,
            framing.float_range,
            None if data.train.larger is None else resolution_of(*data.train.larger.size),
            schema_version=2,
        )

    @property
    def framing(self) -> Framing:
        """How the run's images are resized, and what the values of images with more than 8 bits per channel mean."""
        return Framing(
            resize=self.resize,
            decoder=self.decoder,
            integer_range=self.integer_range,
            float_range=self.float_range,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the members that `data.json` has: of version 1 those that it knew."""
        values = asdict(self)
        return values if self.schema_version > 1 else {name: values[name] for name in values if name not in NEWER_FACTS}

    def normalising(self, data: Dataset) -> Dataset:
        """Return the data set with the normalisation of the run."""
        return replace(data, mean=self.mean, std=self.std)

    def difference(self, now: "DataFacts") -> str:
        """Describe how the data differs from that of the run."""
        if self.images != now.images:
            before, after = (", ".join(f"{n:,} {name}" for name, n in facts.images.items()) for facts in (self, now))
            return f"it has {after} images, and the run was trained on {before}"
        if self.multi_label != now.multi_label:
            kinds = {False: "single-label", True: "multi-label"}
            return f"it is {kinds[now.multi_label]} data, and the run was trained on {kinds[self.multi_label]} data"
        if (self.channels, self.resolution) != (now.channels, now.resolution):
            before, after = (
                f"{counted(facts.channels, 'channel')} of {format_resolution(facts.resolution)} px"
                for facts in (self, now)
            )
            return f"it has {after}, and the run was trained with {before}"
        return "it has as many images, but other pixels, labels or another split"


class Summary(BaseModel):
    """Types of the members of `summary.json`; those of other versions are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, strict=True)

    network: str
    data: str
    params: Count
    macs: Count
    resolution: Size
    val_accuracy: Share | None = None
    """None for a multi-label run."""
    val_map: Share | None = None
    """Mean average precision on the validation images of a multi-label run; None for others."""
    val_images: Count
    train_seconds: Annotated[float, Field(ge=0)]
    versions: dict[str, str]
    epochs: Annotated[float, Field(gt=0)] = 1
    steps: Count = 0
    stopped_early: bool = False
    best_step: float = 0
    val_loss: float | None = None
    device: str = ""
    devices: Positive = 1
    threads: Positive = 1
    skipped_steps: Count = 0
    """Steps of a run in float16 whose gradient overflowed, which left the weights as they were."""
    derived_from: str | None = None
    without_se: list[str] = []
    schema_version: Literal[1, 2] = 1
    """2 for multi-label runs."""

    @property
    def score(self) -> float:
        """Measure by which training chose its weights: accuracy, or mean average precision of multi-label runs."""
        score = self.val_accuracy if self.val_accuracy is not None else self.val_map
        return 0.0 if score is None else score

    @property
    def measure(self) -> str:
        """What `score` is: `accuracy`, or `mean average precision` of a multi-label run."""
        return "mean average precision" if self.val_map is not None else "accuracy"

    @model_validator(mode="after")
    def _check_measure(self) -> "Summary":
        if (self.val_accuracy is None) is (self.val_map is None):
            raise ValueError("must have val_accuracy, or of a multi-label run val_map")
        return self

    def to_dict(self) -> dict[str, object]:
        """Return the members that `summary.json` has."""
        return self.model_dump(exclude_unset=True)


def parse_record(kind: type[Record] | Any, content: bytes, path: Path) -> Record:
    """Return the record that a JSON file holds.

    Args:
        kind: Type of the record, as pydantic validates it.
        content: The file's content.
        path: Where the file lies, for error messages.

    Raises:
        RunError: The file is not JSON, or names the first member of a wrong type or out of its range.
    """
    json_text.parse(content, path, RunError)  # NaN, depth and encoding
    try:
        record: Record = TypeAdapter(kind).validate_json(content)
        return record
    except ValidationError as error:
        raise RunError(f"{path}: {problem_of(error)}") from None


def parse_classes(content: bytes, path: Path) -> tuple[str, ...]:
    """Return the classes that a `classes.json` of any version holds; RunError says what is wrong with the file."""
    if isinstance(json_text.parse(content, path, RunError), list):
        names: tuple[str, ...] = parse_record(Names, content, path)
        return names
    record: ClassNames = parse_record(ClassNames, content, path)
    return record.classes


def check_version(found: object, newest: int, place: object) -> None:
    """Check that this version can read a file.

    Args:
        found: The schema version in the file; 1 where it has none.
        newest: The newest version that can be read.
        place: The file, for the message.

    Raises:
        RunError: The file has a newer version, or none that is a whole number from 1.
    """
    number = float(found) if isinstance(found, int | float) and not isinstance(found, bool) else math.nan
    if number.is_integer() and number > newest:
        raise RunError(f"{place}: schema_version: {number:g} is {NEWER.format(newest)}")
    if not (number.is_integer() and number >= 1):
        raise RunError(f"{place}: schema_version: must be a whole number, 1 or more, not {found!r:.40}")


def problem_of(error: ValidationError) -> str:
    """Return the first problem of a validation in one line: the field, what is wrong, and the value."""
    field, reason = first_problem(error)
    return f"{field}: {reason}" if field else reason


def parse_summary(content: bytes, path: Path) -> Summary:
    """Return the members of a `summary.json`; RunError names the first that is wrong.

    Earlier versions wrote NaN where a run diverged; such a loss is None.
    """
    members = json_text.parse(content, path, RunError, not_finite_as_null=True)
    try:
        return Summary.model_validate(members)
    except ValidationError as error:
        raise RunError(f"{path}: {problem_of(error)}") from None


def parse_metrics(content: bytes, path: Path) -> list[dict[str, float]]:
    """Return the rows of a `metrics.csv`, one a validation.

    Raises:
        RunError: A column is missing, a row is not as long as the header, or a value is not a number. Only losses and
            validation accuracies may be NaN or infinite.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: not readable CSV: {error}") from None
    if not rows:
        raise RunError(f"{path}: empty; it must begin with a line of column names")
    header = rows[0]
    columns = MULTI_LABEL_COLUMNS if "val_map" in header else COLUMNS
    if missing := [name for name in columns if header.count(name) != 1]:
        raise RunError(f"{path}: must have one column {missing[0]!r}")
    return [_metrics_row(header, row, f"{path}: line {number}") for number, row in enumerate(rows[1:], 2)]


def _metrics_row(header: list[str], row: list[str], place: str) -> dict[str, float]:
    if len(row) != len(header):
        raise RunError(f"{place}: has {counted(len(row), 'value')}, not {len(header)}")
    values = {}
    for name, text in zip(header, row, strict=True):
        try:
            values[name] = float(text)
        except ValueError:
            raise RunError(f"{place}: {name} is {text!r:.40}, not a number") from None
        if not math.isfinite(values[name]) and name not in MAYBE_NOT_FINITE:
            raise RunError(f"{place}: {name} is {text!r:.40}, not a finite number")
    check_version(values.pop("schema_version", 1), _metrics_version(values), place)
    if not values["step"] >= 1:
        raise RunError(f"{place}: step is {values['step']:g}; it must be 1 or more")
    return values


def format_metrics(rows: list[dict[str, float]]) -> str:
    """Return rows of metrics as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0], "schema_version"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"schema_version": _metrics_version(row)} for row in rows)
    return text.getvalue()


def _metrics_version(row: dict[str, float]) -> int:
    return MULTI_LABEL_METRICS_VERSION if "val_map" in row else METRICS_VERSION


def measure_of(row: Mapping[str, float]) -> tuple[str, float]:
    """Return the name and the value of what a validation is judged by: `accuracy`, or `mAP` of a multi-label run.

    Args:
        row: A row of `metrics.csv`.
    """
    return ("mAP", row["val_map"]) if "val_map" in row else ("accuracy", row["val_accuracy"])

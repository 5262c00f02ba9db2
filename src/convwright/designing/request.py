"""The request of a design: data, budget, time, and how its trials are carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convwright import json_text
from convwright.data.opened import COLUMNS, Data
from convwright.errors import ArgumentError, DataError, ImagesChangedError, RunError
from convwright.scaling.budget import LATENCY, LATENCY_MS, Budget, as_budget
from convwright.scaling.preparation import StudyOptions
from convwright.training.advice import FAST
from convwright.training.plan import absolute_spec
from convwright.training.recipes import recorded_fields

SPLIT = "split.csv"
"""List in a design's folder with the split of data that has no test images."""
STUDY = "study.json"
"""Description of the study of a shared race, for its workers."""
NO_COLUMNS: dict[str, Any] = dict.fromkeys(COLUMNS)
"""Fields of `Data` for a list whose columns have their usual names."""
RESTORE_IMAGES = "restore the images and resume the design, or start a new design in another folder"
RECIPE = "recipe"
"""Name of the field of a stored request that holds the fields of the recipe for trials with random initial weights."""
MIN_SECONDS = 30.0
"""Seconds of the shortest design."""


def check_seconds(seconds: float, argument: str = "minutes") -> None:
    """Check that a design has the shortest time, or more.

    Args:
        seconds: Its time.
        argument: Name of the parameter that gives it, in minutes or hours, for the message.

    Raises:
        ArgumentError: The time is shorter than `MIN_SECONDS`.
    """
    if seconds >= MIN_SECONDS:
        return
    if argument == "hours":  # 30 seconds are no round number of hours
        raise ArgumentError(argument, f"must be {MIN_SECONDS:g} seconds or more, not {seconds:g} seconds")
    raise ArgumentError(argument, f"must be {MIN_SECONDS / 60:g} or more, not {seconds / 60:g}")


def images_changed(data: str, difference: str = "") -> ImagesChangedError:
    """Return the error that ends a design whose images have changed.

    Args:
        data: Folder, list or name of the images.
        difference: What is different, where that is known.
    """
    what = f" ({difference})" if difference else ""
    return ImagesChangedError(f"{data}: the images have changed since the design began{what}; {RESTORE_IMAGES}")


@dataclass(frozen=True)
class RaceExecution:
    """Execution settings of the race, which do not affect what it compares."""

    workers: int = 1
    """Trials at once on this machine."""
    cluster: str | None = None
    """Address of a Ray cluster to train on instead."""
    cores_per_task: int = 1
    """Cores of each trial on a cluster."""
    storage: str | None = None
    """URL of the database; a file in the folder of the design by default."""
    study: str | None = None
    """Name of the study in the database; the name of the folder by default."""

    @property
    def shared(self) -> bool:
        """Whether trials are shared among workers, as a study."""
        return self.workers != 1 or self.cluster is not None or self.storage is not None

    def check(self, data: Data, out: Path) -> None:
        """Check the settings before any work.

        Raises:
            ArgumentError: Settings have wrong values, exclude each other, or do not suit the data.
            UsageError: The package of databases is not installed.
        """
        StudyOptions(out, self.workers, self.cluster, self.cores_per_task, self.storage, self.study).check()
        if self.storage is not None:
            from convwright.scaling.database import check_url  # needs SQLAlchemy

            check_url(self.storage)
        if data.held is not None and self.cluster is None and self.shared:
            raise ArgumentError(
                "workers",
                "worker processes cannot read images that exist only in this process's memory; save them to files",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all settings but the URL of the database, which may have a password."""
        return {name: value for name, value in vars(self).items() if name != "storage"}


@dataclass(frozen=True)
class DesignRequest:
    """Data, budget and time of a design."""

    data: Data
    budget: Budget | None
    seconds: float
    out: Path
    seed: int = 0
    engine: str = "torch"
    """Engine that will serve the network, in which latency is measured."""
    execution: RaceExecution = field(default_factory=RaceExecution)
    """How the trials of the race are carried out."""

    def __post_init__(self) -> None:
        check_seconds(self.seconds)

    @property
    def split_data(self) -> Data:
        """The data, with the split that the design made where it had none."""
        path = self.out / SPLIT
        return replace(self.data, spec=str(path), **NO_COLUMNS) if path.exists() else self.data

    def check_unchanged(self, fingerprint: str) -> None:
        """Check that the images are still those that the design began with; files are read again.

        Args:
            fingerprint: Fingerprint of the images at the beginning.

        Raises:
            RunError: They have changed, or cannot be read any more.
        """
        try:
            now = replace(self.split_data).dataset().fingerprint  # a copy opens them again
        except DataError as error:
            raise RunError(f"{error}; {RESTORE_IMAGES}") from None
        if now != fingerprint:
            raise images_changed(self.data.spec)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `from_dict` makes an equal request, but for the database."""
        limits = dict(self.budget.limits) if self.budget else {}
        if LATENCY in limits:
            limits[LATENCY_MS] = 1000 * limits.pop(LATENCY)
        options = self.data.options()
        if isinstance(self.data.resolution, tuple):
            options["resolution"] = list(self.data.resolution)  # as JSON gives it back
        return {
            "data": self.data.spec if self.data.held is not None else absolute_spec(self.data.spec),
            "data_options": options,
            "budget": limits or None,
            "seconds": self.seconds,
            "seed": self.seed,
            "engine": self.engine,
            RECIPE: recorded_fields(FAST),
            "execution": self.execution.to_dict(),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any], out: Path) -> "DesignRequest":
        """Return a request from what `to_dict` returned."""
        options = dict(stored["data_options"])
        if isinstance(options.get("resolution"), list):
            options["resolution"] = tuple(options["resolution"])
        if "split_seed" in options:
            options["seed"] = options.pop("split_seed")
        budget = as_budget(stored["budget"]) if stored["budget"] else None
        data = Data(stored["data"], **options)
        execution = RaceExecution(**stored["execution"], storage=_storage_of(out))
        return cls(data, budget, stored["seconds"], out, stored["seed"], stored["engine"], execution)


def _storage_of(folder: Path) -> str | None:
    """Return the URL of the database that a design in a folder was given; None if it was given none."""
    path = folder / STUDY
    stored: Any = json_text.read(path) if path.is_file() else None
    url = stored.get("given") if isinstance(stored, Mapping) else None
    return url if isinstance(url, str) else None

"""What a study needs before it runs: options that are checked, a base that fits the data, and a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from convwright.arch import Network, at, fit_resolution
from convwright.arch.node import foreign_types
from convwright.arch.resolution import sides
from convwright.data import Dataset
from convwright.data.opened import COLUMNS, Data
from convwright.errors import ArgumentError
from convwright.extras import require_package
from convwright.machine import available_cores
from convwright.places import check_folder
from convwright.ray_connection import check_address
from convwright.scaling.experiment import Experiment
from convwright.scaling.task_runner import configure
from convwright.training.config import Recipe
from convwright.training.field_errors import FieldError
from convwright.training.plan import LEAST_CROPPED
from convwright.training.yaml_text import read_value

LONGEST_NAME = 200
"""Most characters of a folder that is named after base and data."""


@dataclass(frozen=True)
class StudyOptions:
    """Execution settings that do not affect the results of a study."""

    out: Path
    """Folder of the study."""
    workers: int = 1
    """Training runs at once on this machine."""
    cluster: str | None = None
    """Address of a Ray cluster to train on instead."""
    cores_per_task: int = 1
    """Cores of each training run on a cluster."""
    storage: str | None = None
    """URL of the database; a file in `out` by default."""
    study: str | None = None
    """Name of the study in the database; the name of `out` by default."""
    keep_runs: bool = False
    """Whether each trained network is kept as a run."""
    cache_gb: float | None = None
    """Most gigabytes that decoded images may take on disk; None: the default."""

    def check_types(self, experiment: Experiment) -> None:
        """Check that other processes can load the networks of a study, where they train them.

        Raises:
            ArgumentError: A network has a block that is defined in a notebook or in the script that runs.
        """
        if self.workers == 1 and self.cluster is None:
            return
        networks = (experiment.base, *(candidate.network for candidate in experiment.candidates))
        names = [name for network in networks for name in foreign_types(network.to_json())]
        if local := sorted({name.removeprefix("__main__.") for name in names if name.startswith("__main__.")}):
            name = "workers" if self.cluster is None else "cluster"
            raise ArgumentError(
                name,
                f"other processes cannot load {', '.join(local)}, which this script or notebook defines; move it to "
                "a module of an installed package with a plug-in, or leave out workers and cluster",
            )

    def check(self) -> None:
        """Check the options before any work.

        Raises:
            ArgumentError: The folder cannot be made, or options have wrong values or exclude each other.
            UsageError: The package of databases is not installed.
        """
        check_folder("out", self.out)
        require_package("sqlalchemy", "a study")
        if self.cluster is not None and self.workers != 1:
            raise ArgumentError("workers", "cannot be combined with a cluster, which has workers of its own")
        if self.cluster is not None:
            check_address(self.cluster)
        if self.cores_per_task < 1:
            raise ArgumentError("cores_per_task", f"must be 1 or more, not {self.cores_per_task}")
        if self.cores_per_task != 1 and self.cluster is None:
            raise ArgumentError("cores_per_task", "needs a cluster; on this machine cores are divided among workers")
        divide_cores(available_cores(), self.workers)


@dataclass(frozen=True)
class TrainingOptions:
    """How the networks of a study are trained."""

    recipe: str | None = "fast"
    fields: Mapping[str, object] | Sequence[str] = ()
    """Fields of the recipe that replace those of `recipe`: by name, or as FIELD=VALUE."""
    batch_size: int | None = None
    precision: str | None = None

    def recipe_fields(self, base: Network) -> dict[str, object]:
        """Return the fields of the recipe by name.

        Where the base's images are too small for random shifts, those of larger networks are not shifted either, so
        that networks that are compared are trained alike.

        Raises:
            ArgumentError: A field is not one of the recipe's, or its value cannot be read.
        """
        fields: dict[str, object] = {"crop": 0} if min(sides(base.resolution)) < LEAST_CROPPED else {}
        if isinstance(self.fields, Mapping):
            return fields | {name: value for name, value in self.fields.items() if _known(name, name)}
        return fields | dict(_read_field(text) for text in self.fields)

    def config_fields(self, data: Data) -> dict[str, object]:
        """Return the fields of `TrainConfig` that are given, or that the data brings."""
        fields: dict[str, object] = {"batch_size": self.batch_size, "precision": self.precision}
        for name in ("val_share", "max_bad", "resize", "duplicates", *COLUMNS):
            if getattr(data, name) != getattr(Data, name):
                fields[name] = getattr(data, name)
        return {name: value for name, value in fields.items() if value is not None}


def fit_to_data(base: Network, data: Dataset) -> Network:
    """Return the base for a data set: early strides dropped for small images, with its channels and classes."""
    if base.resolution != data.resolution:
        base = fit_resolution(base, data.resolution)
    return at(base, channels=data.channels, classes=len(data.classes))


def default_folder(kind: str, base: str, data: str) -> Path:
    """Return the folder of a study without `out`; an equal call finds it again."""
    name = f"{kind}-{base}-{Path(data).name}"
    return Path("studies") / "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:LONGEST_NAME]


def folder_of(kind: str, base: Network | str | Path, data: Data, out: Path | str | None) -> Path:
    """Return the folder of a study: `out`, or one that is named after base and data."""
    name = base.name if isinstance(base, Network) else str(base)
    return Path(out) if out is not None else default_folder(kind, name, data.spec)


def check_trainable(experiment: Experiment, data: Dataset) -> None:
    """Check that the base could be trained with an experiment's recipe and options.

    Raises:
        ArgumentError: A field of the recipe or an option has a wrong value.
        NetworkError: The base cannot be built for the data.
    """
    try:
        configure(experiment, experiment.base, data, experiment.schedule.length(0))
    except FieldError as error:
        if error.field.startswith("recipe."):
            name = error.field.removeprefix("recipe.")
            raise ArgumentError("fields", f"{name}: {error.reason}") from None
        raise


def divide_cores(cores: Sequence[int], count: int) -> list[list[int]]:
    """Divide cores among workers.

    Raises:
        ArgumentError: There are fewer cores than workers.
    """
    if not 1 <= count <= len(cores):
        raise ArgumentError("workers", f"must be 1 to {len(cores)}, the cores of this machine, not {count}")
    bounds = [len(cores) * index // count for index in range(count + 1)]
    return [list(cores[low:high]) for low, high in pairwise(bounds)]


def _known(name: str, text: str) -> bool:
    if name not in Recipe.model_fields:
        known = ", ".join(Recipe.model_fields)
        raise ArgumentError("fields", f"{text!r}: write FIELD=VALUE with a field of the recipe: {known}")
    return True


def _read_field(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    _known(name if value else "", text)
    try:
        return name, read_value(value)
    except ValueError:
        raise ArgumentError("fields", f"{text!r}: the value cannot be read") from None

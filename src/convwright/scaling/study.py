"""Studies: prepared, and run in this process, in worker processes or on a cluster."""

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convwright import json_text
from convwright.arch import Network, at, fit_resolution
from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.display.progress import say
from convwright.errors import ArgumentError, ConvwrightError
from convwright.files import write_text
from convwright.machine import available_cores
from convwright.places import check_folder
from convwright.scaling.cluster import Cluster
from convwright.scaling.database import check_url, sqlite_in
from convwright.scaling.experiment import Experiment
from convwright.scaling.findings import Findings
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.progress import StudyProgress
from convwright.scaling.ranking import all_diverged
from convwright.scaling.storage import StudyStorage
from convwright.scaling.trial import TaskRunner, configure, data_opener
from convwright.scaling.worker import RESUMED, divide_cores, work, worker_processes, write_description
from convwright.training.config import FieldError, Recipe
from convwright.training.interrupt import Interrupted
from convwright.training.plan import LEAST_CROPPED

LONGEST_NAME = 200
"""Most characters of a folder that is named after base and data."""
POLL = 1.0
"""Seconds between checks of what workers have done."""


@dataclass(frozen=True)
class StudyOptions:
    """How a study is run, as far as its results do not depend on it."""

    out: Path
    """Folder of the study."""
    workers: int = 1
    """Trainings at once on this machine."""
    cluster: str | None = None
    """Address of a Ray cluster to train on instead."""
    cores_per_trial: int = 1
    """Cores of each training on a cluster."""
    storage: str | None = None
    """URL of the database; a file in `out` by default."""
    study: str | None = None
    """Name of the study in the database; the name of `out` by default."""
    keep_runs: bool = False
    """Whether each trained network is kept as a run."""

    def check(self) -> None:
        """Check the options before any work.

        Raises:
            ArgumentError: The folder cannot be made, or options have wrong values or exclude each other.
        """
        check_folder("out", self.out)
        if self.cluster is not None and self.workers != 1:
            raise ArgumentError("workers", "these are of this machine, and a cluster has its own: give one of the two")
        if self.cores_per_trial < 1:
            raise ArgumentError("cores_per_trial", f"must be 1 or more, not {self.cores_per_trial}")
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
        fields: dict[str, object] = {"crop": 0} if base.resolution < LEAST_CROPPED else {}
        if isinstance(self.fields, Mapping):
            return fields | {name: value for name, value in self.fields.items() if _known(name, name)}
        return fields | dict(_read_field(text) for text in self.fields)

    def config_fields(self, data: Data) -> dict[str, object]:
        """Return the fields of `TrainConfig` that are given, or that the data brings."""
        fields: dict[str, object] = {"batch_size": self.batch_size, "precision": self.precision}
        for name in ("val_share", "max_bad"):
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


def run_study(experiment: Experiment, options: StudyOptions) -> dict[Task, Outcome]:
    """Run a study from its current state to its end. Whatever is interrupted or killed, an equal call resumes it.

    Args:
        experiment: What to train.
        options: Where and how.

    Returns:
        The result of every task.

    Raises:
        ArgumentError: Options have wrong values.
        StudyError: The database has another study of this name.
        ConvwrightError: The folder cannot be made, the database does not answer, or a worker failed.
        Interrupted: The study was stopped.
    """
    options.check()
    storage = _open_storage(experiment, options)
    if found := storage.results():
        say(f"{len(found)} trainings were finished before; resuming with the rest")
    try:
        with StudyProgress(storage) as progress:
            if options.cluster is not None:
                _run_on_cluster(storage, options, progress)
            elif options.workers == 1:
                _run_here(storage, options, progress)
            else:
                _run_in_processes(storage, options, progress)
            progress.update()
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        raise Interrupted(f"stopped; finished trainings are kept, and {RESUMED}", number) from None
    return storage.results()


def write_findings(experiment: Experiment, results: Mapping[Task, Outcome], path: Path) -> Findings:
    """Write what a study found as JSON, and return it.

    Raises:
        ConvwrightError: Every training diverged, so that no network is best.
    """
    findings = Findings.of(experiment, results)
    write_text(path, json_text.dump(findings.to_dict(), indent=1) + "\n")
    if all_diverged(results):
        raise ConvwrightError(f"{path}: every training diverged, so no network is best; try a lower learning rate")
    return findings


def _open_storage(experiment: Experiment, options: StudyOptions) -> StudyStorage:
    name = options.study or options.out.resolve().name
    storage = None
    if options.storage:  # before the folder is made, so that nothing is left behind where no database answers
        storage = StudyStorage(check_url(options.storage), name, experiment)
    try:
        (options.out / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvwrightError(f"{options.out}: the study's folder could not be made: {error.strerror}") from None
    if storage is None:
        storage = StudyStorage(sqlite_in(options.out), name, experiment)
    write_description(options.out, storage, options.keep_runs)
    return storage


def _run_here(storage: StudyStorage, options: StudyOptions, progress: StudyProgress) -> None:
    experiment, folder = storage.experiment, options.out / "trials"
    runner = TaskRunner(experiment, folder, data_opener(experiment), options.keep_runs, callback=progress.callback())
    work(storage, runner, lambda task: progress.update())


def _run_in_processes(storage: StudyStorage, options: StudyOptions, progress: StudyProgress) -> None:
    with worker_processes(options.out, options.workers) as workers:
        while workers.check():
            progress.update()
            time.sleep(POLL)


def _run_on_cluster(storage: StudyStorage, options: StudyOptions, progress: StudyProgress) -> None:
    with Cluster(options.cluster or "auto", options.cores_per_trial) as cluster:
        keep = options.out / "trials" if options.keep_runs else None
        cluster.work(storage, data_opener(storage.experiment), lambda task: progress.update(), keep)


def _known(name: str, text: str) -> bool:
    if name not in Recipe.model_fields:
        known = ", ".join(Recipe.model_fields)
        raise ArgumentError("fields", f"{text!r}: write FIELD=VALUE with a field of the recipe: {known}")
    return True


def _read_field(text: str) -> tuple[str, object]:
    import yaml

    name, _, value = text.partition("=")
    _known(name if value else "", text)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ArgumentError("fields", f"{text!r}: the value cannot be read") from None

"""What `scale search` and `scale family --train` share: a study prepared, carried out, and shown as it goes."""

import signal
import time
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.arch import at, fit_resolution
from convwright.arch.cost import cost
from convwright.cli.option_names import naming, naming_fields
from convwright.errors import ConvwrightError, UsageError
from convwright.machine import available_cores

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.data import Dataset
    from convwright.scaling.experiment import Experiment
    from convwright.scaling.halving import Task
    from convwright.scaling.storage import StudyStorage
    from convwright.scaling.trial import Outcome

Workers = Annotated[int, typer.Option(help="Trainings at once on this machine, its cores divided among them.")]
Cluster = Annotated[
    str | None, typer.Option(help="Train on this Ray cluster instead: an address, auto, or local.", metavar="ADDRESS")
]
CoresPerTrial = Annotated[int, typer.Option(help="Cores of each training on a cluster.")]
Storage = Annotated[
    str | None,
    typer.Option(help="Database of the study: postgresql://...; a file in --out by default.", metavar="URL"),
]
StudyName = Annotated[str | None, typer.Option("--study", help="The study's name in the database.")]
Seeds = Annotated[int, typer.Option(help="Trainings of each network, with the same seeds for all.")]
Recipe = Annotated[str | None, typer.Option(help="densenet, senet, efficientnet or fast.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field of the recipe, e.g. progressive=0; may be given again.", metavar="FIELD=VALUE"),
]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.")]
Precision = Annotated[str | None, typer.Option(help="32-true or bf16-mixed.")]
Resolution = Annotated[int | None, typer.Option(help="Side of the base's images; the data's own by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything that was found as JSON.")]
LONGEST_NAME = 200
"""Characters of a study's folder that is named after the base and the data."""
LOOK = 1.0
"""Seconds between looks at what workers have done."""


@dataclass(frozen=True)
class How:
    """How a study is carried out, as far as its results do not depend on it."""

    out: Path
    workers: int = 1
    cluster: str | None = None
    cores_per_trial: int = 1
    storage: str | None = None
    study: str | None = None
    keep: bool = False


def fitted(base: "Network", data: "Dataset") -> "Network":
    """Return the base for a data set: its early strides dropped for small images, with its channels and classes."""
    if base.resolution != data.resolution:
        base = fit_resolution(base, data.resolution)
    return at(base, channels=data.channels, classes=len(data.classes))


def open_data(spec: str, resolution: int | None, base: "Network") -> "Dataset":
    """Open the data at the base's resolution, showing how far decoding has come."""
    from convwright.data import open_dataset
    from convwright.display.progress import counting

    with naming("--data"), counting() as progress:
        return open_dataset(spec, resolution=resolution, largest=base.resolution, progress=progress)


def options_of(batch_size: int | None, precision: str | None) -> dict[str, Any]:
    """Return the fields of `TrainConfig` that were given."""
    given = {"batch_size": batch_size, "precision": precision}
    return {name: value for name, value in given.items() if value is not None}


def fields_of(given: list[str] | None, base: "Network") -> dict[str, Any]:
    """Read FIELD=VALUE pairs of a recipe. UsageError names a field that there is not; values are checked later.

    Where the base's images are too small to be shifted, those of larger networks are not either: networks that are
    compared are trained alike.
    """
    import yaml

    from convwright.training.config import Recipe
    from convwright.training.plan import LEAST_CROPPED

    fields: dict[str, Any] = {"crop": 0} if base.resolution < LEAST_CROPPED else {}
    for text in given or ():
        name, _, value = text.partition("=")
        if name not in Recipe.model_fields or not value:
            known = ", ".join(Recipe.model_fields)
            raise UsageError(f"--set {text!r}: write FIELD=VALUE with a field of the recipe: {known}")
        try:
            fields[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {text!r}: the value cannot be read") from None
    return fields


def check_trainable(experiment: "Experiment", data: "Dataset") -> None:
    """UsageError or NetworkError for a recipe or an option with which no run could begin."""
    from convwright.training.plan import plan
    from convwright.training.recipes import RECIPES

    if experiment.recipe is not None and experiment.recipe not in RECIPES:
        raise UsageError(f"--recipe: no recipe is named {experiment.recipe!r}; there are {', '.join(RECIPES)}")
    with naming_fields(_option):
        plan(
            data,
            experiment.base,
            name=experiment.recipe,
            recipe=dict(experiment.fields),
            epochs=experiment.schedule.length(0),
            **experiment.options,
        )


def _option(field: str) -> str:
    name = field.removeprefix("recipe.").partition(".")[0]
    return f"--set {name}" if field.startswith("recipe.") else f"--{name.replace('_', '-')}"


def default_folder(kind: str, base: str, data: str) -> Path:
    """Return where a study goes that is given no folder; the same command finds it again."""
    name = f"{kind}-{base}-{Path(data).name}"
    return Path("studies") / "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:LONGEST_NAME]


def conduct(experiment: "Experiment", how: How) -> "dict[Task, Outcome]":
    """Carry a study out, from where it stands, and return all its results.

    Interrupted or killed, nothing that has ended is lost: the same again goes on.
    """
    from convwright.display.progress import say
    from convwright.scaling.storage import StudyStorage, check_url, sqlite_in
    from convwright.scaling.worker import GO_ON, describe, divided
    from convwright.training.interrupt import Interrupted

    if how.cluster is not None and how.workers != 1:
        raise UsageError("--workers are of this machine; a --cluster has its own: give one of the two")
    divided(available_cores(), how.workers)  # before anything is written
    name = how.study or how.out.resolve().name
    if how.storage:
        # Before the folder is made: nothing is left behind where the database is unreachable.
        storage = StudyStorage(check_url(how.storage), name, experiment)
    try:
        (how.out / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvwrightError(f"{how.out}: the study's folder could not be made: {error.strerror}") from None
    if not how.storage:
        storage = StudyStorage(sqlite_in(how.out), name, experiment)
    describe(how.out, storage, how.keep)
    if found := storage.results():
        say(f"{len(found)} trainings have ended already; going on with the rest")
    try:
        with _StudyDisplay(storage) as display:
            if how.cluster is not None:
                _on_cluster(storage, how, display)
            elif how.workers == 1:
                _here(storage, how, display)
            else:
                _in_processes(storage, how, display)
            display.look()
    except KeyboardInterrupt as stopped:
        raise Interrupted(
            f"stopped; what has been trained is kept, {GO_ON}", getattr(stopped, "number", signal.SIGINT)
        ) from None
    return storage.results()


def _here(storage: "StudyStorage", how: How, display: "_StudyDisplay") -> None:
    from convwright.scaling.trial import Trials, opener
    from convwright.scaling.worker import work

    experiment = storage.experiment
    trials = Trials(experiment, how.out / "trials", opener(experiment), how.keep, reporter=display.reporter())
    work(storage, trials, lambda task: display.look())


def _in_processes(storage: "StudyStorage", how: How, display: "_StudyDisplay") -> None:
    from convwright.scaling.worker import processes

    with processes(how.out, how.workers) as team:
        while team.check():
            display.look()
            time.sleep(LOOK)


def _on_cluster(storage: "StudyStorage", how: How, display: "_StudyDisplay") -> None:
    from convwright.scaling.cluster import Cluster
    from convwright.scaling.trial import opener

    with Cluster(how.cluster or "auto", how.cores_per_trial) as cluster:
        keep = how.out / "trials" if how.keep else None
        cluster.work(storage, opener(storage.experiment), lambda task: display.look(), keep)


class _StudyDisplay:
    """Shows a study's progress: a bar on a terminal, and a line for each training that has ended."""

    def __init__(self, storage: "StudyStorage") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        from convwright.display.progress import described, errors

        self.storage = storage
        self.told = set(storage.results())
        self.bar = Progress(
            described(),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(),
            TextColumn("gone"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("left"),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
            speed_estimate_period=600,
        )
        total = storage.experiment.total_work
        self.row = self.bar.add_task("study", total=total)
        self.bar.update(self.row, completed=self._done(self.told))

    def __enter__(self) -> "_StudyDisplay":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def look(self) -> None:
        """Show what has ended since the last look."""
        results = self.storage.results()
        for task in sorted(results.keys() - self.told):
            self._tell(task, results[task])
        self.told = set(results)
        self.bar.update(self.row, completed=self._done(self.told))

    def reporter(self) -> Any:
        """Make what tells the bar of steps, where training happens in this process."""
        from convwright.training.loop import Reporter

        display = self

        class Steps(Reporter):
            share = 0.0

            def begin(self, run: Any, done: int, steps: int) -> None:
                epochs = run.config.epochs
                self.share = epochs * cost(run.network).macs / max(1, steps)
                display.bar.advance(display.row, self.share * done)

            def step(self, step: int, images: int, loss: float) -> None:
                display.bar.advance(display.row, self.share)

        return Steps()

    def _done(self, tasks: "set[Task]") -> float:
        return sum(self.storage.experiment.work(task) for task in tasks)

    def _tell(self, task: "Task", outcome: "Outcome") -> None:
        from convwright.display.progress import say

        experiment = self.storage.experiment
        test = "" if outcome.test_accuracy is None else f", test {outcome.test_accuracy:.2%}"
        reached = f"validation {outcome.accuracy:.2%}{test}" if outcome.diverged is None else "diverged"
        say(
            f"{len(self.told) + 1}: {experiment.candidates[task.candidate].name}, seed {task.seed}, "
            f"{task.epochs:.3g} epochs: {reached}, {outcome.seconds:.0f} s"
        )
        self.told.add(task)


def positive(name: str, value: float) -> None:
    """UsageError for a number that must be above 0."""
    if not 0 < value < inf:
        raise UsageError(f"--{name} must be a number above 0, not {value:g}")

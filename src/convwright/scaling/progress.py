"""Progress of a study: a bar on a terminal, and a line for each training run that has ended."""

from collections.abc import Set
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from convwright.arch.cost import cost
from convwright.display.progress import Bars, described, print_progress
from convwright.display.wording import counted
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyStorage
from convwright.training.callbacks import Callback, StartedRun, Step

if TYPE_CHECKING:
    from convwright.scaling.outcome import Outcome

SPEED_SECONDS = 600
"""Seconds over which the speed is averaged to estimate the time that is left."""


class StudyProgress:
    """Shows the progress of a study on standard error: a bar if that is a terminal, and lines in any case."""

    def __init__(self, storage: StudyStorage) -> None:
        self.storage = storage
        self.shown = set(storage.results())
        self.bar = Bars(
            described(),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("left"),
            speed_estimate_period=SPEED_SECONDS,
        )
        self.row = self.bar.add_task("study", total=storage.experiment.total_work)
        self.bar.update(self.row, completed=self._work(self.shown))

    def __enter__(self) -> "StudyProgress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self) -> None:
        """Show the training runs that have ended since the last update."""
        results = self.storage.results()
        for task in sorted(results.keys() - self.shown):
            self._show(task, results[task])
        self.shown = set(results)
        self.bar.update(self.row, completed=self._work(self.shown))

    def callback(self) -> Callback:
        """Return a callback that advances the bar with each step of a training run in this process."""
        return _Steps(self)

    def _work(self, tasks: Set[Task]) -> float:
        return sum(self.storage.experiment.work(task) for task in tasks)

    def _show(self, task: Task, outcome: "Outcome") -> None:
        experiment = self.storage.experiment
        test = "" if outcome.test_accuracy is None else f", test {outcome.test_accuracy:.2%}"
        name = "validation mAP" if outcome.measure != "accuracy" else "validation"
        reached = f"{name} {outcome.accuracy:.2%}{test}" if outcome.diverged is None else "diverged"
        epochs = counted(float(f"{task.epochs:.3g}"), "epoch")
        self.shown.add(task)
        print_progress(
            f"{len(self.shown)}: {experiment.candidates[task.candidate].name}, seed {task.seed}, "
            f"{epochs}: {reached}, {outcome.seconds:.0f} s"
        )


class _Steps(Callback):
    def __init__(self, progress: StudyProgress) -> None:
        self.progress, self.share = progress, 0.0

    def on_start(self, run: StartedRun) -> None:
        self.share = run.config.epochs * cost(run.network).macs / max(1, run.steps)
        self.progress.bar.advance(self.progress.row, self.share * run.first_step)

    def on_step(self, step: Step) -> None:
        self.progress.bar.advance(self.progress.row, self.share)

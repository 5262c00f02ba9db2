"""One task of a study: a run of its own, which can be stopped and resumed like any other."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from convwright.arch import Network
from convwright.arch.resolution import Resolution
from convwright.data import Dataset, Split, open_dataset
from convwright.data.framing import Framing
from convwright.data.opened import COLUMNS
from convwright.errors import RunHeldError, UsageError
from convwright.evaluation.assessment import assess, assess_multi_label
from convwright.prediction.network import Predictor, load
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.training.callbacks import Callback
from convwright.training.config import TrainConfig
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.precision import DivergedError
from convwright.training.progress import Runtime
from convwright.training.records import Summary
from convwright.training.run import Run

OPENED = 6
"""Data sets (a resolution and a seed each) that stay in memory."""

OpenData = Callable[[Resolution, int], Dataset]
"""Returns the data at a resolution, split by a seed."""


def run_name(task: Task) -> str:
    """Return the name of a task's run directory."""
    return f"network{task.candidate:03d}-epochs{task.epochs:g}-seed{task.seed}"


def data_opener(experiment: Experiment, cache_gb: float | None = None) -> OpenData:
    """Return a function that opens the experiment's data, and keeps in memory what it opened last."""
    options: dict[str, Any] = {
        name: experiment.options[name] for name in ("val_share", "max_bad", "duplicates") if name in experiment.options
    }
    options["columns"] = {name: experiment.options.get(name) for name in COLUMNS}
    resize: Any = experiment.options.get("resize", Framing().resize)
    options["framing"] = Framing(resize=resize)

    @lru_cache(OPENED)
    def open_data(resolution: Resolution, seed: int) -> Dataset:
        return open_dataset(experiment.data, resolution=resolution, seed=seed, cache_gb=cache_gb, **options)

    return open_data


@dataclass(frozen=True)
class TaskRunner:
    """Trains tasks in a folder, with a run directory for each."""

    experiment: Experiment
    folder: Path
    open_data: OpenData
    keep_runs: bool = False
    """Whether runs stay in the folder once their result is stored."""
    checkpoint_seconds: float = 60.0
    callback: Callback = field(default_factory=Callback)

    def run(self, task: Task) -> Outcome:
        """Train a task's network, from its last checkpoint if there is one; a diverged training counts as 0 % right.

        Raises:
            Interrupted: Training was stopped. The same task resumes from there.
        """
        started = time.monotonic()
        network = self.experiment.network(task)
        data = self.open_data(network.resolution, task.seed)
        path = self.folder / run_name(task)
        try:
            summary = self._train(task, data, path)
        except DivergedError as error:
            measure = "mean average precision" if data.multi_label else "accuracy"
            return Outcome(0.0, diverged=str(error), seconds=time.monotonic() - started, measure=measure)
        tested = None
        if self.experiment.tested and data.test is not None:
            tested = _tested(load(path), data, data.test)
        seconds = time.monotonic() - started
        loss = summary.val_loss
        loss = loss if loss is not None and isfinite(loss) else None  # JSON has no other numbers
        return Outcome(summary.score, loss, tested, summary.train_seconds, seconds, measure=summary.measure)

    def clean_up(self, task: Task) -> None:
        """Remove the run of a task whose result is stored; of a run that is kept, only the checkpoints."""
        path = self.folder / run_name(task)
        shutil.rmtree(path / "checkpoints" if self.keep_runs else path, ignore_errors=True)

    def _train(self, task: Task, data: Dataset, path: Path) -> Summary:
        runtime = Runtime(checkpoint_seconds=self.checkpoint_seconds, validate_once=True)
        config, network = configure(self.experiment, self.experiment.network(task), data, task.epochs, task.seed)
        if path.exists():
            try:
                if _same_run(run := Run.open(path), config, network, data):
                    return resume(run, data, [self.callback], runtime)
            except RunHeldError:
                raise
            except UsageError:  # damaged
                pass
            shutil.rmtree(path)
        return train(config, network, data, path, [self.callback], runtime)


def _tested(predictor: Predictor, data: Dataset, test: Split) -> float:
    """Return a network's accuracy, or mean average precision, on test images."""
    if predictor.multi_label:
        return assess_multi_label(predictor, data, [test]).mean_average_precision.value
    return assess(predictor, data, [test]).accuracy


def configure(
    experiment: Experiment, network: Network, data: Dataset, epochs: float, seed: int = 0
) -> tuple[TrainConfig, Network]:
    """Return the configuration of a training run of an experiment, and the network for the data.

    Raises:
        FieldError: A field of the recipe or an option has a wrong value.
        NetworkError: The network cannot be built for the data.
    """
    fields: dict[str, Any] = dict(experiment.fields)
    options: dict[str, Any] = dict(experiment.options)
    name: Any = experiment.recipe
    return plan(data, network, name=name, recipe=fields, epochs=epochs, seed=seed, **options)


def _same_run(run: Run, config: TrainConfig, network: Network, data: Dataset) -> bool:
    """Return whether a run is of this task; another study may have left its own run in the folder."""
    here, there = (each.model_dump(mode="json", exclude={"data"}) for each in (config, run.config))
    return here == there and run.network == network and run.data.fingerprint == data.fingerprint

"""One training of a study: a run of its own, stopped and gone on with like any other."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from convwright.arch import Network
from convwright.data import Dataset, open_dataset
from convwright.errors import RunHeldError, UsageError
from convwright.evaluation.assessment import assess
from convwright.prediction.network import load
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.training.config import TrainConfig
from convwright.training.loop import Reporter, Runtime, resume, train
from convwright.training.plan import plan
from convwright.training.run import Run
from convwright.training.step import DivergedError

OPENED = 6
"""Data sets (a resolution and a seed each) that stay in memory."""

Opened = Callable[[int, int], Dataset]
"""Gives the data at a resolution, split by a seed."""


@dataclass(frozen=True)
class Outcome:
    """What came out of a task."""

    accuracy: float
    """On the validation images, 0 to 1; 0 where training diverged."""
    loss: float | None = None
    test_accuracy: float | None = None
    train_seconds: float = 0.0
    """Of the training steps."""
    seconds: float = 0.0
    """Of the whole task, validation and data included."""
    diverged: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready object; `Outcome(**it)` is equal."""
        return asdict(self)


def name_of(task: Task) -> str:
    """Return the name of a task's run directory."""
    return f"network{task.candidate:03d}-epochs{task.epochs:g}-seed{task.seed}"


def opener(experiment: Experiment, cache_gb: float | None = None) -> Opened:
    """Return what opens the experiment's data, and keeps what was opened last."""
    chosen = {name: experiment.options[name] for name in ("val_share", "max_bad") if name in experiment.options}

    @lru_cache(OPENED)
    def opened(resolution: int, seed: int) -> Dataset:
        return open_dataset(experiment.data, resolution=resolution, seed=seed, cache_gb=cache_gb, **chosen)

    return opened


@dataclass(frozen=True)
class Trials:
    """Runs tasks in a folder, a run directory for each. keep: leave each run's weights there."""

    experiment: Experiment
    folder: Path
    opened: Opened
    keep: bool = False
    checkpoint_seconds: float = 60.0
    reporter: Reporter = field(default_factory=Reporter)

    def run(self, task: Task) -> Outcome:
        """Train a task's network from where it was stopped; a diverging one counts as 0 % right.

        Interrupted if stopped: the same task goes on from there.
        """
        started = time.monotonic()
        network = self.experiment.network(task)
        data = self.opened(network.resolution, task.seed)
        path = self.folder / name_of(task)
        try:
            summary = self._trained(task, data, path)
        except DivergedError as error:
            return Outcome(0.0, diverged=str(error), seconds=time.monotonic() - started)
        tested = None
        if self.experiment.tested and data.test is not None:
            tested = assess(load(path), data, [data.test]).accuracy
        took = time.monotonic() - started
        loss = summary["val_loss"] if isfinite(summary["val_loss"]) else None  # which JSON could not say
        return Outcome(summary["val_accuracy"], loss, tested, summary["train_seconds"], took)

    def tidy(self, task: Task) -> None:
        """Remove what a recorded task left behind; of a kept run only what resuming would need."""
        path = self.folder / name_of(task)
        shutil.rmtree(path / "checkpoints" if self.keep else path, ignore_errors=True)

    def _trained(self, task: Task, data: Dataset, path: Path) -> Mapping[str, Any]:
        runtime = Runtime(checkpoint_seconds=self.checkpoint_seconds, validate_once=True)
        experiment = self.experiment
        config, network = plan(
            data,
            experiment.network(task),
            name=experiment.recipe,
            recipe=dict(experiment.fields),
            epochs=task.epochs,
            seed=task.seed,
            **experiment.options,
        )
        if path.exists():
            try:
                if _is_of(run := Run.open(path), config, network, data):
                    return resume(run, data, self.reporter, runtime)
            except RunHeldError:
                raise
            except UsageError:  # damaged
                pass
            shutil.rmtree(path)
        return train(config, network, data, path, self.reporter, runtime)


def _is_of(run: Run, config: TrainConfig, network: Network, data: Dataset) -> bool:
    """Is a run what a task would begin? Another study may have left its own in the same folder."""
    here, there = (one.model_dump(mode="json", exclude={"data"}) for one in (config, run.config))
    return here == there and run.network == network and run.data.fingerprint == data.fingerprint

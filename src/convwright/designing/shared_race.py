"""A race whose trials are shared among workers, as a study: none is lost or run twice.

The process of the design alone decides: it plans each round in `state.json` and compares the trials. Workers, processes
of this machine or of a Ray cluster, claim the trials of the planned round in the database of the study and store their
results there. A task of the study has the number of its candidate, the seed, and the round instead of the epochs.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convwright import json_text
from convwright.designing.clock import Clock
from convwright.designing.request import STUDY, DesignRequest, images_changed
from convwright.designing.state import CLOCK, FEATURES, State
from convwright.designing.trials import Trainer, Trial
from convwright.errors import UsageError
from convwright.files import write_text
from convwright.scaling.database import check_url, sqlite_in
from convwright.scaling.halving import Task
from convwright.scaling.storage import TaskStorage
from convwright.scaling.worker import SCHEMA_VERSION, work
from convwright.training.frozen import keeping_features

MIN_TRIAL_SECONDS = 2.0
"""Seconds that a trial is given at least."""


@dataclass(frozen=True)
class RaceDescription:
    """The design that a race belongs to."""

    key: str

    def to_dict(self) -> dict[str, object]:
        """Return the key of the design."""
        return {"design": self.key}

    def difference_from(self, stored: Mapping[str, Any]) -> str:
        """Return how a stored description differs, as a sentence; empty if it does not."""
        if stored.get("design") == self.key:
            return ""
        return "it belongs to another design" if "design" in stored else "it is not the study of a design's race"


class RaceStorage(TaskStorage[RaceDescription, Trial]):
    """Trials and claims of a race.

    Args:
        url: URL of the database.
        name: Name of the study in the database.
        folder: Folder of the design.
        description: The design that the race belongs to.
    """

    ends_with_round = False
    """Whether the study counts as ended when the planned round has."""

    def __init__(self, url: str, name: str, folder: Path, description: RaceDescription) -> None:
        super().__init__(url, name, description)
        self.folder = folder

    def remaining(self) -> list[Task] | None:
        """Return the trials of the planned round that have not ended; None once the race has."""
        state = State.open(self.folder)
        if state.race_ended:
            return None
        results = self.results()
        left = [task for task in tasks_of(state) if task not in results]
        return None if self.ends_with_round and not left else left

    def title(self, task: Task) -> str:
        """Return the name of a task's candidate."""
        return State.open(self.folder).candidates[task.candidate].name

    def read(self, stored: Mapping[str, Any]) -> Trial:
        """Return a trial from what its `to_dict` returned."""
        return Trial(**stored)


def tasks_of(state: State) -> dict[Task, str]:
    """Return the trials of the round that was planned last, with the names of their candidates, in order."""
    if not state.plans:
        return {}
    numbers = {each.name: at for at, each in enumerate(state.candidates)}
    round_ = len(state.plans) - 1
    seed = state.request["seed"]
    return {Task(numbers[name], seed, float(round_)): name for name in state.rounds[round_]}


def seconds_for(state: State, round_: int, passed: float) -> float:
    """Return the seconds of a trial that begins now: those of its round, or fewer where the round began late."""
    plan = state.plans[round_]
    return max(MIN_TRIAL_SECONDS, min(plan["seconds"], plan["until"] - passed))


class _WatchedClock(Clock):
    """The clock of a design, which another process writes."""

    def save(self, *, now: bool = True) -> float:
        """Write nothing, and return the passed time."""
        return round(self.passed, 2)


@dataclass(frozen=True)
class RaceRunner:
    """Trains the trials of a race in a worker process."""

    trainer: Trainer

    def run(self, task: Task) -> Trial:
        """Train a trial, from its last checkpoint if there is one.

        Raises:
            Interrupted: Training was stopped.
        """
        folder, state = self.trainer.folder, State.open(self.trainer.folder)
        clock = _WatchedClock(folder / CLOCK, self.trainer.clock.seconds)
        seconds = seconds_for(state, int(task.epochs), clock.passed)
        candidate = state.candidates[task.candidate]
        return replace(self.trainer, clock=clock).run(candidate, task.candidate, int(task.epochs), seconds)

    def clean_up(self, task: Task) -> None:
        """Remove the checkpoints of a trial whose result is stored."""
        path = self.trainer.folder / self.trainer.place(task.candidate, int(task.epochs))
        shutil.rmtree(path / "checkpoints", ignore_errors=True)


def open_storage(request: DesignRequest, key: str) -> RaceStorage:
    """Open the study of a design's race, and describe it for its workers in the folder of the design.

    Raises:
        ArgumentError: The URL of the database is wrong.
        StudyError: The database has another study of this name.
        ConvwrightError: The database does not answer.
    """
    folder, options = request.out, request.execution
    url = check_url(options.storage) if options.storage else sqlite_in(folder)
    name = options.study or folder.resolve().name
    storage = RaceStorage(url, name, folder, RaceDescription(key))
    description = {"schema_version": SCHEMA_VERSION, "storage": url, "study": name, "design": key}
    description |= {"given": options.storage}
    # Only its owner may read the file, since the database's URL may have a password.
    write_text(folder / STUDY, json_text.dump(description, indent=1) + "\n", mode=0o600)
    return storage


def ready_file(folder: Path, process: int) -> Path:
    """Return the file that a worker process writes when it has opened the images."""
    return folder / f"worker-{process}.ready"


def work_on_race(folder: Path) -> None:
    """Train trials of a design's race, which are shared with other workers, until the race has ended.

    Raises:
        UsageError: The folder has no race that workers share.
        RunError: The images have changed since the design began.
        Interrupted: The process was stopped.
    """
    path = folder / STUDY
    if not path.is_file():
        raise UsageError(
            f"{folder}: this design has no trials for other workers; start one with `workers` or `storage`"
        )
    stored: Any = json_text.read(path)
    try:
        storage = RaceStorage(stored["storage"], stored["study"], folder, RaceDescription(stored["design"]))
    except (LookupError, TypeError):
        raise UsageError(f"{path}: damaged file; resume the design, which writes it again") from None
    state = State.open(folder)
    request = DesignRequest.from_dict(state.request, folder)
    data = request.split_data
    if data.dataset().fingerprint != state.fingerprint:
        raise images_changed(data.spec)
    clock = _WatchedClock(folder / CLOCK, request.seconds)
    ready_file(folder, os.getpid()).touch()
    with keeping_features(folder / FEATURES):
        work(storage, RaceRunner(Trainer(data, folder, clock, request.seed, progress=False)))

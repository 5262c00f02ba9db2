"""The record of a study: an Optuna study in a database, where any number of workers note what they train.

A task is claimed by a trial in the state RUNNING. Of several trials for one task the oldest holds the claim, so that
two workers that claim at once agree on who was first. A claim whose worker is gone is given up: at once where that
was a process of this machine, which its process tells, else when its heartbeat has stopped. A result counts when its
trial is COMPLETE.
"""

import os
import platform
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from convwright.errors import ConvwrightError, UsageError
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.trial import Outcome

HEARTBEAT, GRACE = 10, 60
"""Seconds from one sign of life to the next, and after which a worker that gave none is taken for dead."""
PATIENCE = 60.0
"""Seconds for which a database that has answered before may be away."""
ATTEMPTS = 4
"""How often a new database is opened, where workers that start together all want to make its tables."""
LARGEST_PLACE = 1e6

T = TypeVar("T")


class StudyError(ConvwrightError):
    """A study that is not the one that was asked for."""


@dataclass
class TaskClaim:
    """A task that is this process's to run, with the heartbeat that says so."""

    storage: "StudyStorage"
    task: Task
    trial: int
    ended: bool = False

    def complete(self, outcome: Outcome) -> bool:
        """Record the result. It is left out if the claim was lost meanwhile, since then another one counts.

        Returns whether the result that now counts is this claim's.
        """

        def write() -> None:
            self.storage.storage.set_trial_user_attr(self.trial, "outcome", outcome.to_json())
            self.storage.storage.set_trial_state_values(self.trial, TrialState.COMPLETE, [outcome.accuracy])

        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.patiently(write)
        self.ended = True
        now = self.storage.patiently(lambda: self.storage.storage.get_trial(self.trial))
        return now.state == TrialState.COMPLETE

    def give_up(self) -> None:
        """Leave the task to others, or to a later start."""
        if not self.ended:
            self.ended = True
            with suppress(SQLAlchemyError, optuna.exceptions.OptunaError):
                self.storage.storage.set_trial_state_values(self.trial, TrialState.FAIL)


class StudyStorage:
    """Results, and who is at work on what, of one experiment in one database."""

    def __init__(self, url: str, name: str, experiment: Experiment) -> None:
        self.url, self.name, self.experiment = url, name, experiment
        self.storage = _storage(url)
        try:
            self.study = self._found()
        except SQLAlchemyError as error:
            raise _unreachable(url, error) from None

    def results(self) -> dict[Task, Outcome]:
        """Return what has been found so far."""
        found: dict[Task, Outcome] = {}
        for trial in self._trials(TrialState.COMPLETE):
            found.setdefault(_task(trial), Outcome(**trial.user_attrs["outcome"]))
        return found

    def running(self) -> set[Task]:
        """Return the tasks that somebody is at work on, after giving up the claims of the dead."""
        self._give_up_the_dead()
        return {_task(trial) for trial in self._trials(TrialState.RUNNING)}

    def claim(self, task: Task) -> TaskClaim | None:
        """TaskClaim a task; None if another one was first."""
        candidate = self.experiment.candidates[task.candidate]
        place = {name: min(float(value), LARGEST_PLACE) for name, value in candidate.place.items()}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=place,
            distributions={name: optuna.distributions.FloatDistribution(0, LARGEST_PLACE) for name in place},
            user_attrs={"task": list(task), "network": candidate.network.name, "worker": _myself()},
        )
        trial = self.patiently(lambda: self.storage.create_new_trial(self.study, template))
        self.patiently(lambda: self.storage.record_heartbeat(trial))
        claim = TaskClaim(self, task, trial)
        rivals = self._trials(TrialState.RUNNING, TrialState.COMPLETE)
        if any(_task(rival) == task and rival._trial_id < trial for rival in rivals):
            claim.give_up()
            return None
        return claim

    @contextmanager
    def alive(self, claim: TaskClaim) -> Iterator[TaskClaim]:
        """Give signs of life while a claim's task is run; give the claim up if it ends without a result."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                with suppress(SQLAlchemyError, optuna.exceptions.OptunaError):  # the next one may get through
                    self.storage.record_heartbeat(claim.trial)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield claim
        finally:
            over.set()
            thread.join()
            claim.give_up()

    def patiently(self, action: Callable[[], T]) -> T:
        """Do something with the database, again and again while it is away."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return action()
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                if time.monotonic() > until:
                    raise _unreachable(self.url, error, "results so far are kept; the same command goes on") from None
                time.sleep(1.0)

    def _found(self) -> int:
        """Return the id of the study, made if there is none; StudyError if it is of another experiment."""
        with suppress(optuna.exceptions.DuplicatedStudyError):
            made = self.storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], self.name)
            self.storage.set_study_user_attr(made, "experiment", self.experiment.to_json())
            return made
        study = self.storage.get_study_id_from_name(self.name)
        before = self._experiment_of(study)
        if told := self.experiment.difference_from(before):
            raise StudyError(f"study {self.name!r} in {shown(self.url)}: {told}; give another --out or --study")
        return study

    def _experiment_of(self, study: int) -> Mapping[str, Any]:
        for _ in range(50):  # whoever made it a moment ago is about to write it
            if (found := self.storage.get_study_user_attrs(study).get("experiment")) is not None:
                return found
            time.sleep(0.1)
        if self._is_newborn(study):  # whoever made it was killed before
            self.storage.set_study_user_attr(study, "experiment", self.experiment.to_json())
            return self.storage.get_study_user_attrs(study)["experiment"]
        raise StudyError(f"study {self.name!r} in {shown(self.url)} was not made by Convwright; give another --study")

    def _is_newborn(self, study: int) -> bool:
        """Is a study as `_found` makes it, with nothing in it?"""
        storage = self.storage
        ours = storage.get_study_directions(study) == [optuna.study.StudyDirection.MAXIMIZE]
        return ours and not storage.get_study_user_attrs(study) and not storage.get_n_trials(study)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        found = self.patiently(lambda: self.storage.get_all_trials(self.study, deepcopy=False, states=states))
        return [trial for trial in found if "task" in trial.user_attrs]

    def _give_up_the_dead(self) -> None:
        stale = set(self.patiently(lambda: self.storage._get_stale_trial_ids(self.study)))
        silent: set[int] | None = None
        for trial in self._trials(TrialState.RUNNING):
            alive = _is_alive(trial.user_attrs.get("worker", {}))
            if alive is None and trial._trial_id not in stale:
                silent = self._without_heartbeat() if silent is None else silent
                if trial._trial_id in silent:  # killed between claim and first sign of life: its time runs from now
                    self.patiently(lambda: self.storage.record_heartbeat(trial._trial_id))  # noqa: B023
            elif not alive:
                with suppress(optuna.exceptions.OptunaError):
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _without_heartbeat(self) -> set[int]:
        """Return running trials that have never given a sign of life, which Optuna would wait for without end."""
        trials, beats = models.TrialModel, models.TrialHeartbeatModel
        wanted = (
            select(trials.trial_id)
            .outerjoin(beats, beats.trial_id == trials.trial_id)
            .where(trials.study_id == self.study, trials.state == TrialState.RUNNING, beats.trial_id.is_(None))
        )

        def read() -> set[int]:
            with self.storage.engine.connect() as connection:
                return set(connection.scalars(wanted))

        return self.patiently(read)


def sqlite_in(folder: Path) -> str:
    """Return the URL of the database that a study has in its own folder."""
    path = str(folder.absolute() / "study.db")
    return URL.create("sqlite", database=path).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return "the storage"


def check_url(url: str) -> str:
    """Return the URL with a driver that is here. UsageError says what is wrong with it."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):  # a port that is no number; the text may hold a password
        raise UsageError(
            "--storage is no database's URL; write postgresql://user@host:5432/database or sqlite:///file.db"
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError("--storage sqlite:// names no file, and would keep nothing; write sqlite:///file.db")
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        parsed.get_dialect().import_dbapi()
    except (SQLAlchemyError, ImportError, AttributeError):
        raise UsageError(
            f"--storage: no driver for {parsed.drivername}; for PostgreSQL: pip install 'convwright[cluster]'"
        ) from None
    return parsed.render_as_string(hide_password=False)


def _storage(url: str) -> RDBStorage:
    engine: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        engine["connect_args"] = {"timeout": PATIENCE}
    elif url.startswith("postgresql"):
        engine["connect_args"] = {"connect_timeout": 10}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for left in reversed(range(ATTEMPTS)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(url, engine, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
        except (SQLAlchemyError, ImportError) as error:
            if not left or not (isinstance(error, IntegrityError) or "already exists" in str(error)):
                raise _unreachable(url, error) from None
            time.sleep(1.0)  # another worker is making the tables
    raise AssertionError


def _unreachable(url: str, error: Exception, advice: str = "") -> ConvwrightError:
    reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    first = next((line.strip() for line in reason.splitlines() if line.strip()), type(error).__name__)
    return ConvwrightError(f"the study's database {shown(url)} does not answer: {first}" + (advice and f"; {advice}"))


def _task(trial: FrozenTrial) -> Task:
    candidate, seed, epochs = trial.user_attrs["task"]
    return Task(int(candidate), int(seed), float(epochs))


def _myself() -> dict[str, Any]:
    return {"host": _host(), "process": os.getpid(), "started": _started(os.getpid())}


def _host() -> str:
    """This machine since its last start, or this container on it, so that process numbers mean something."""
    with suppress(OSError):
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {start} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def _started(process: int) -> str | None:
    """When a process started, in the system's own clock; None if there is none, or the system does not tell."""
    with suppress(OSError, IndexError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state[0] == "Z" else state[19]
    return None


def _is_alive(worker: Mapping[str, Any]) -> bool | None:
    """Is this process of this machine still there? None for one of another machine.

    Here a silent one is only stopped for a while, with the machine asleep or the database away.
    """
    if worker.get("host") != _host() or worker.get("started") is None:
        return None
    return _started(worker["process"]) == worker["started"]

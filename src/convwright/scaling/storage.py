"""Study storage: which tasks of an experiment are done, and which worker trains which task.

A row of the table of tasks is a task that a worker has claimed. Claims are atomic: the database lets one insertion or
update of the row succeed. A claim ends with a result, or is released: by its worker, or by others once the worker is
dead. A process of this machine is dead when the system no longer lists it; any other worker, when it has sent no
heartbeat for `GRACE` seconds by the database's clock. A claim of this process that is not in `ACTIVE` was interrupted,
and counts as that of a dead worker.
"""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    cast,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from convwright.errors import ConvwrightError
from convwright.scaling.database import Database, hide_password
from convwright.scaling.earlier import read_earlier_study
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.process_identity import ProcessIdentity

HEARTBEAT, GRACE = 10, 60
"""Seconds between heartbeats, and seconds without one after which a worker counts as dead."""
SCHEMA_VERSION = 1
ACTIVE: set[str] = set()
"""Keys of the claims that this process trains."""

METADATA = MetaData()
STUDIES = Table(
    "convwright_studies",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(512), unique=True, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("created", DateTime(timezone=True), server_default=func.current_timestamp()),
)
TASKS = Table(
    "convwright_tasks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study", ForeignKey(STUDIES.c.id), nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("epochs", Double, nullable=False),
    Column("claim", String(32)),  # identifies the claim; NULL where the task was released
    Column("worker", Text),
    Column("heartbeat", DateTime(timezone=True)),
    Column("accuracy", Double),
    Column("outcome", Text),  # NULL until the task is done
    UniqueConstraint("study", "candidate", "seed", "epochs"),
)


class StudyError(ConvwrightError):
    """A study with this name that belongs to another experiment, or that this version cannot read."""


class Result(Protocol):
    """Result of a task, which a study stores."""

    @property
    def accuracy(self) -> float:
        """Share of the validation images that are right, 0 to 1."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready object."""


class Description(Protocol):
    """Everything that the results of a study depend on."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object."""

    def difference_from(self, stored: Mapping[str, Any]) -> str:
        """Return how a stored description differs from this one, as a sentence; empty if it does not."""


R = TypeVar("R", bound=Result)
D = TypeVar("D", bound=Description)


@dataclass
class TaskClaim(Generic[R]):
    """A task that this process has claimed, and trains."""

    storage: "TaskStorage[Any, R]"
    task: Task
    key: str
    ended: bool = False

    def complete(self, outcome: R) -> bool:
        """Store the result of the task, unless the claim was lost to another worker meanwhile.

        Returns:
            Whether the result was stored, and so counts.
        """
        values = {"outcome": json.dumps(outcome.to_dict()), "accuracy": outcome.accuracy}

        def write(connection: Connection) -> bool:
            mine = _is_task(self.storage.study, self.task) & (TASKS.c.claim == self.key)
            connection.execute(update(TASKS).where(mine, TASKS.c.outcome.is_(None)).values(values))
            return connection.scalar(select(TASKS.c.id).where(mine, TASKS.c.outcome.is_not(None))) is not None

        counts = self.storage.database.run(write)
        self._end()
        return counts

    def release(self) -> None:
        """Leave the task to other workers, or to a later call."""
        if not self.ended:
            self._end()
            with suppress(SQLAlchemyError):
                self.storage.database.once(lambda connection: _release(connection, TASKS.c.claim == self.key))

    def _end(self) -> None:
        self.ended = True
        ACTIVE.discard(self.key)
        self.storage.claims.pop(self.key, None)


class TaskStorage(ABC, Generic[D, R]):
    """Results and claims of the tasks of one study in one database.

    Args:
        url: URL of the database, as `check_url` returns it.
        name: Name of the study in the database.
        experiment: What the study trains. A study that exists must be of an equal one.

    Raises:
        StudyError: The database has a study of this name with another experiment.
        ConvwrightError: The database does not answer.
    """

    def __init__(self, url: str, name: str, experiment: D) -> None:
        self.url, self.name, self.experiment = url, name, experiment
        self.database = Database(url, METADATA)
        self.claims: dict[str, TaskClaim[R]] = {}
        try:
            self.study = self._find_or_create()
        except SQLAlchemyError as error:
            raise self.database.unreachable(error) from None

    @abstractmethod
    def remaining(self) -> list[Task] | None:
        """Return the tasks without a result that can be trained now, in order; None once the study has ended."""

    @abstractmethod
    def title(self, task: Task) -> str:
        """Return what messages call a task."""

    @abstractmethod
    def read(self, stored: Mapping[str, Any]) -> R:
        """Return a result from what its `to_dict` returned."""

    def results(self) -> dict[Task, R]:
        """Return the results so far."""
        wanted = select(TASKS).where(TASKS.c.study == self.study, TASKS.c.outcome.is_not(None)).order_by(TASKS.c.id)
        rows = self.database.run(lambda connection: connection.execute(wanted).all())
        return {Task(row.candidate, row.seed, row.epochs): self.read(json.loads(row.outcome)) for row in rows}

    def running(self) -> set[Task]:
        """Release the tasks of dead workers, and return the tasks that are being trained."""
        running, current = set(), ProcessIdentity.current()
        claimed = (TASKS.c.study == self.study) & TASKS.c.outcome.is_(None) & TASKS.c.claim.is_not(None)
        heartbeat = cast(TASKS.c.heartbeat, Text)  # as it is stored, in full precision
        wanted = select(TASKS, func.current_timestamp().label("now"), heartbeat.label("stored")).where(claimed)
        for row in self.database.run(lambda connection: connection.execute(wanted).all()):
            worker = ProcessIdentity.from_dict(json.loads(row.worker))
            alive = worker.is_alive if worker != current or row.claim in ACTIVE else False
            if alive is None:
                alive = row.now - row.heartbeat <= timedelta(seconds=GRACE)
            unchanged = (TASKS.c.claim == row.claim) & (heartbeat == row.stored)
            # A worker that has sent a heartbeat since the row was read is alive, and keeps its claim.
            if alive or not self.database.run(lambda connection: _release(connection, unchanged)):  # noqa: B023
                running.add(Task(row.candidate, row.seed, row.epochs))
        return running

    def workers(self) -> dict[Task, ProcessIdentity]:
        """Return the worker that completed each task, or trains it."""
        wanted = select(TASKS).where(TASKS.c.study == self.study, TASKS.c.worker.is_not(None))
        rows = self.database.run(lambda connection: connection.execute(wanted).all())
        return {
            Task(row.candidate, row.seed, row.epochs): ProcessIdentity.from_dict(json.loads(row.worker)) for row in rows
        }

    def claim(self, task: Task) -> TaskClaim[R] | None:
        """Claim a task for this process.

        Returns:
            The claim; None if the task is done, or another worker has claimed it.
        """
        claim: TaskClaim[R] = TaskClaim(self, task, uuid4().hex)
        values = {
            "claim": claim.key,
            "worker": json.dumps(ProcessIdentity.current().to_dict()),
            "heartbeat": func.current_timestamp(),
        }
        row = {"study": self.study, "candidate": task.candidate, "seed": task.seed, "epochs": task.epochs}
        this = _is_task(self.study, task)

        def create(connection: Connection) -> None:
            connection.execute(insert(TASKS).values(row | values))

        def take(connection: Connection) -> bool:
            free = TASKS.c.claim.is_(None) & TASKS.c.outcome.is_(None)
            connection.execute(update(TASKS).where(this, free).values(values))
            return connection.scalar(select(TASKS.c.claim).where(this)) == claim.key

        ACTIVE.add(claim.key)
        self.claims[claim.key] = claim
        with suppress(IntegrityError):  # the task has been claimed before
            self.database.run(create)
        if self.database.run(take):
            return claim
        claim.release()
        return None

    def release_claims(self) -> None:
        """Release all claims that were made here and have not ended, as after an interruption at any moment."""
        for claim in list(self.claims.values()):
            claim.release()

    @contextmanager
    def heartbeats(self, claim: TaskClaim[R]) -> Iterator[TaskClaim[R]]:
        """Send heartbeats while a claimed task is trained; release the task if the block ends without a result."""
        ended = threading.Event()
        beat = update(TASKS).where(TASKS.c.claim == claim.key).values(heartbeat=func.current_timestamp())

        def send() -> None:
            while not ended.wait(HEARTBEAT):
                with suppress(SQLAlchemyError):  # the next heartbeat may arrive
                    self.database.once(lambda connection: connection.execute(beat))

        thread = threading.Thread(target=send, daemon=True)
        try:
            thread.start()
            yield claim
        finally:
            ended.set()
            try:
                if thread.ident is not None:
                    thread.join()
            finally:
                claim.release()

    def _find_or_create(self) -> int:
        """Return the number of the study, which is created or taken over from an earlier version if need be."""
        wanted = select(STUDIES.c.id, STUDIES.c.schema_version, STUDIES.c.experiment).where(STUDIES.c.name == self.name)
        found = self.database.once(lambda connection: connection.execute(wanted).one_or_none())
        if found is None:
            with suppress(IntegrityError):  # another worker has just created it
                self.database.once(self._create)
            found = self.database.once(lambda connection: connection.execute(wanted).one())
        place = f"study {self.name!r} in {hide_password(self.url)}"
        if found.schema_version > SCHEMA_VERSION:
            raise StudyError(f"{place}: a newer version of Convwright created it; update Convwright")
        if difference := self.experiment.difference_from(json.loads(found.experiment)):
            raise StudyError(f"{place}: {difference}; use another folder or study name")
        return int(found.id)

    def _create(self, connection: Connection) -> None:
        """Create the study."""
        experiment = json.dumps(self.experiment.to_dict())
        row = {"name": self.name, "schema_version": SCHEMA_VERSION, "experiment": experiment}
        connection.execute(insert(STUDIES).values(row))


class StudyStorage(TaskStorage[Experiment, Outcome]):
    """Results and claims of one experiment in one database."""

    def remaining(self) -> list[Task] | None:
        """Return the tasks of the current rung that have no result; None once the schedule has ended."""
        left = self.experiment.schedule.remaining({task: each.accuracy for task, each in self.results().items()})
        return self.experiment.in_order(left) or None

    def title(self, task: Task) -> str:
        """Return the name of a task's network."""
        return self.experiment.candidates[task.candidate].name

    def read(self, stored: Mapping[str, Any]) -> Outcome:
        """Return an outcome from what its `to_dict` returned."""
        return Outcome.from_dict(stored)

    def _create(self, connection: Connection) -> None:
        """Create the study, with the results of a study of this name that an earlier version stored."""
        earlier = read_earlier_study(connection, self.name)
        if earlier is None:
            super()._create(connection)
            return
        row = {"name": self.name, "schema_version": SCHEMA_VERSION, "experiment": earlier.experiment}
        study = connection.execute(insert(STUDIES).values(row)).inserted_primary_key
        for task, outcome in earlier.results.items():
            row = {"study": study[0] if study else None, "candidate": task.candidate, "seed": task.seed}
            row |= {"epochs": task.epochs, "accuracy": outcome.accuracy, "outcome": json.dumps(outcome.to_dict())}
            connection.execute(insert(TASKS).values(row))


def _is_task(study: int, task: Task) -> ColumnElement[bool]:
    return (
        (TASKS.c.study == study)
        & (TASKS.c.candidate == task.candidate)
        & (TASKS.c.seed == task.seed)
        & (TASKS.c.epochs == task.epochs)
    )


def _release(connection: Connection, claimed: ColumnElement[bool]) -> bool:
    """Release the claim that a condition describes; return whether there was one."""
    free = update(TASKS).where(claimed, TASKS.c.outcome.is_(None)).values(claim=None, worker=None, heartbeat=None)
    return connection.execute(free).rowcount > 0

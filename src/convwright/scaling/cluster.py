"""Tasks of a study on a Ray cluster. This process alone uses the database; the cluster's workers only train."""

import tempfile
import time
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from convwright.data import Dataset
from convwright.errors import ConvwrightError
from convwright.files import packed, unpack
from convwright.ray_connection import RayConnection, last_line
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import Result, StudyStorage, TaskClaim, TaskStorage
from convwright.scaling.task_runner import OpenData, TaskRunner, run_name
from convwright.scaling.worker import POLL

RETRIES = 3
"""Repetitions of a task whose worker has died."""

R = TypeVar("R", bound=Result)


class Cluster(RayConnection):
    """A Ray cluster that trains. The data is sent to it, so that its nodes need no copy.

    Args:
        address: What `ray start` printed, `auto`, or `local` for a cluster of this process alone.
        cores: Processor cores, and torch threads, of a task.

    Raises:
        ArgumentError: The number of cores is wrong.
        UsageError: Ray is not installed.
        ConvwrightError: No cluster answers at the address.
    """

    def __init__(self, address: str, cores: int = 1) -> None:
        super().__init__(address, cores)
        self.sent: dict[Hashable, Any] = {}

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def work(
        self,
        storage: StudyStorage,
        open_data: OpenData,
        on_task: Callable[[Task], None] = lambda task: None,
        keep: Path | None = None,
    ) -> None:
        """Train tasks until none remains.

        Args:
            storage: The study, which this process alone reads and writes.
            open_data: Opens the data that tasks are sent.
            on_task: Called with each task that is sent to the cluster.
            keep: Folder on this machine into which each task's run is copied from the worker that trained it, without
                its checkpoints; None keeps no runs.

        Raises:
            ConvwrightError: The cluster failed to run a task, or its run could not be written.
        """
        experiment = storage.experiment
        run, description = self.remote(_run), self.ray.put(experiment.to_dict())

        def start(task: Task) -> Any:
            key = experiment.network(task).resolution, task.seed
            return run.remote(description, tuple(task), self.send(key, lambda: open_data(*key)), self.cores, bool(keep))

        self.run_tasks(storage, start, on_task, lambda task: keep / run_name(task) if keep else None)

    def remote(self, function: Callable[..., tuple[dict[str, object], dict[str, bytes]]]) -> Any:
        """Return a function whose `remote` runs it on a worker, again where the worker dies."""
        return self.ray.remote(num_cpus=self.cores, max_retries=RETRIES)(function)

    def send(self, key: Hashable, make: Callable[[], object]) -> Any:
        """Return a reference to an object in the cluster's store, into which it is sent once.

        Args:
            key: Identifies the object.
            make: Returns the object.
        """
        if key not in self.sent:
            self.sent[key] = self.ray.put(make())
        return self.sent[key]

    def run_tasks(
        self,
        storage: TaskStorage[Any, R],
        start: Callable[[Task], Any],
        on_task: Callable[[Task], None] = lambda task: None,
        place: Callable[[Task], Path | None] = lambda task: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Send tasks to the cluster until none remains.

        Args:
            storage: The study, which this process alone reads and writes.
            start: Sends a task; the result of its function is an outcome, and files of the task's run.
            on_task: Called with each task that is sent to the cluster.
            place: Returns the folder for the files of a task's run; None: they are not written.
            on_wait: Called again and again until all tasks have ended.

        Raises:
            ConvwrightError: The cluster failed to run a task, or its run could not be written.
        """
        sent: dict[Any, tuple[TaskClaim[R], ExitStack]] = {}
        with ExitStack() as claims:
            claims.callback(storage.release_claims)
            while True:
                on_wait()
                remaining = storage.remaining()
                if remaining is None and not sent:
                    return
                running = storage.running()
                for task in remaining or []:
                    if len(sent) >= self.size:
                        break
                    if task in running or (claim := storage.claim(task)) is None:
                        continue
                    heartbeats = claims.enter_context(ExitStack())
                    heartbeats.enter_context(storage.heartbeats(claim))
                    sent[start(task)] = (claim, heartbeats)
                    on_task(task)
                self._collect(sent, place)

    def _collect(self, sent: dict[Any, tuple[TaskClaim[R], ExitStack]], place: Callable[[Task], Path | None]) -> None:
        """Store the results of tasks that have ended; wait a moment if none has."""
        if not sent:
            time.sleep(POLL)
            return
        ended, _ = self.ray.wait(list(sent), timeout=POLL)
        for reference in ended:
            claim, heartbeats = sent.pop(reference)
            try:
                outcome, files = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                raise ConvwrightError(
                    f"{claim.storage.title(claim.task)}: the cluster failed to train it after {RETRIES} retries where "
                    f"a worker died: {last_line(error)}"
                ) from None
            # Before the result counts, so that a study that has ended has all its runs.
            if (folder := place(claim.task)) is not None:
                unpack(files, folder)
            claim.complete(claim.storage.read(outcome))
            heartbeats.close()


def _run(
    description: dict[str, Any], task: tuple[int, int, float], data: Dataset, cores: int, keep: bool
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Train a task's network on a Ray worker; return the outcome and, with `keep`, the files of its run."""
    import torch

    torch.set_num_threads(cores)
    experiment = Experiment.from_dict(description)
    with tempfile.TemporaryDirectory(prefix="convwright-trial-") as folder:
        runner = TaskRunner(experiment, Path(folder), lambda *_: data, keep)
        outcome = runner.run(Task(*task))
        runner.clean_up(Task(*task))
        return outcome.to_dict(), packed(Path(folder) / run_name(Task(*task)))

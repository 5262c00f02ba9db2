"""The tasks of a study on a Ray cluster. This process alone speaks with the database; tasks only train."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from convwright.data import Dataset
from convwright.errors import ConvwrightError, UsageError
from convwright.extras import require_package
from convwright.files import new_folder, write_bytes
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyStorage, TaskClaim
from convwright.scaling.trial import Opened, Outcome, Trials, name_of
from convwright.scaling.worker import POLL

RETRIES = 3
"""How often a task is run again whose worker has died."""


class Cluster:
    """An existing Ray cluster: `address` is what ``ray start`` told, ``auto``, or ``local`` for one of this process.

    cores: processor cores (and torch threads) of a task. The data is sent along, so that nodes need none.
    """

    def __init__(self, address: str, cores: int = 1) -> None:
        if cores < 1:
            raise UsageError(f"--cores-per-trial is 1 or more, not {cores}")
        ray = require_package("ray", "--cluster")
        self.ray: Any = ray
        self.cores = cores
        try:
            own = {"include_dashboard": False} if address == "local" else {"address": address}
            ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConvwrightError(f"no Ray cluster answers at {address}: {first}") from None
        self.sent: dict[tuple[int, int], Any] = {}

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    @property
    def size(self) -> int:
        """How many tasks the cluster has room for."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)) // self.cores)

    def work(
        self,
        storage: StudyStorage,
        opened: Opened,
        on_task: Callable[[Task], None] = lambda task: None,
        keep: Path | None = None,
    ) -> None:
        """Run tasks until the schedule has none left.

        Args:
            storage: The study, which this process alone reads and writes.
            opened: Opens the data that tasks are sent.
            on_task: Called with each task that is sent to the cluster.
            keep: Folder on this machine into which each task's run is copied from the worker that trained it, without
                its checkpoints; None keeps no runs.

        Raises:
            ConvwrightError: The cluster failed to run a task, or its run could not be written.
        """
        experiment, schedule = storage.experiment, storage.experiment.schedule
        shared = self.ray.put(experiment.to_json())
        run = self.ray.remote(num_cpus=self.cores, max_retries=RETRIES)(_run)
        under_way: dict[Any, tuple[TaskClaim, ExitStack]] = {}
        with ExitStack() as all_claims:
            while True:
                left = schedule.remaining({task: one.accuracy for task, one in storage.results().items()})
                if not left and not under_way:
                    return
                taken = storage.running()
                for task in experiment.in_order([task for task in left if task not in taken]):
                    if len(under_way) >= self.size:
                        break
                    if (claim := storage.claim(task)) is None:
                        continue
                    alive = all_claims.enter_context(ExitStack())
                    alive.enter_context(storage.alive(claim))
                    data = self._sent(experiment, task, opened)
                    under_way[run.remote(shared, tuple(task), data, self.cores, keep is not None)] = (claim, alive)
                    on_task(task)
                self._collect(under_way, keep)

    def _collect(self, under_way: dict[Any, tuple[TaskClaim, ExitStack]], keep: Path | None) -> None:
        """Record what has ended; wait a moment if nothing has."""
        if not under_way:
            time.sleep(POLL)
            return
        ended, _ = self.ray.wait(list(under_way), timeout=POLL)
        for reference in ended:
            claim, alive = under_way.pop(reference)
            try:
                told, files = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[-1]
                raise ConvwrightError(
                    f"{claim.storage.experiment.candidates[claim.task.candidate].name}: the cluster failed to train it "
                    f"after {RETRIES} retries where a worker died: {why}"
                ) from None
            if keep is not None:  # before the result counts, so that a study that has ended has all its runs
                _unpack(files, keep / name_of(claim.task))
            claim.complete(Outcome(**told))
            alive.close()

    def _sent(self, experiment: Experiment, task: Task, opened: Opened) -> Any:
        """The data of a task in the cluster's store, sent once."""
        key = experiment.network(task).resolution, task.seed
        if key not in self.sent:
            self.sent[key] = self.ray.put(opened(*key))
        return self.sent[key]


def _run(
    described: dict[str, Any], task: tuple[int, int, float], data: Dataset, cores: int, keep: bool
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Train a task's network on a Ray worker; return the outcome and, with `keep`, the files of its run."""
    import torch

    torch.set_num_threads(cores)
    experiment = Experiment.from_json(described)
    with tempfile.TemporaryDirectory(prefix="convwright-trial-") as folder:
        trials = Trials(experiment, Path(folder), lambda *_: data, keep)
        outcome = trials.run(Task(*task))
        trials.tidy(Task(*task))
        return outcome.to_json(), _packed(Path(folder) / name_of(Task(*task)))


def _packed(folder: Path) -> dict[str, bytes]:
    """Return a folder's files by their paths in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a folder of packed files, whole or not at all; an earlier one is replaced."""
    with new_folder(folder, replace=True) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(temporary / name, content)

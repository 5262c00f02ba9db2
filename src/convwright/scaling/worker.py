"""Workers: each trains the next task that no other worker has claimed, until no task remains."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from convwright import json_text
from convwright.errors import ConvwrightError, UsageError
from convwright.files import write_text
from convwright.machine import available_cores
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.preparation import divide_cores
from convwright.scaling.storage import Result, StudyStorage, TaskClaim, TaskStorage
from convwright.scaling.task_runner import TaskRunner, data_opener
from convwright.training.interrupt import Interrupted

POLL = 0.5
"""Seconds between checks of what other workers have done."""
RESTARTS = 3
"""Restarts of each worker that dies."""
STOP_SECONDS = 30
"""Seconds in which a worker must write its checkpoint before it is killed."""
DESCRIPTION = "study.json"
SCHEMA_VERSION = 1
RESUMED = "the same command or call resumes the study"

R = TypeVar("R", bound=Result)
R_co = TypeVar("R_co", bound=Result, covariant=True)


class Runner(Protocol[R_co]):
    """Trains the tasks of a study."""

    def run(self, task: Task) -> R_co:
        """Train a task, from its last checkpoint if there is one."""

    def clean_up(self, task: Task) -> None:
        """Remove what a task whose result is stored needs no longer."""


def work(storage: TaskStorage[Any, R], runner: Runner[R], on_task: Callable[[Task], None] = lambda task: None) -> None:
    """Train tasks until none remains; wait where other workers still train what the next rung depends on.

    Args:
        storage: The study.
        runner: Trains a task.
        on_task: Called with each task before it is trained.

    Raises:
        Interrupted: Training was stopped. The study can be resumed.
    """
    for task in storage.results():  # of a worker that was killed before it did
        runner.clean_up(task)
    try:
        while (remaining := storage.remaining()) is not None:
            running = storage.running()
            free = [task for task in remaining if task not in running]
            claim = storage.claim(free[0]) if free else None
            if claim is None:
                time.sleep(POLL)
            elif _trained(storage, claim, runner, on_task):  # otherwise another worker may train in the same folder
                runner.clean_up(claim.task)
    except Interrupted as stopped:  # whose message names the run instead of the study
        raise Interrupted(f"stopped; finished training runs are kept, and {RESUMED}", stopped.number) from None
    finally:
        storage.release_claims()


def _trained(
    storage: TaskStorage[Any, R], claim: TaskClaim[R], runner: Runner[R], on_task: Callable[[Task], None]
) -> bool:
    """Train a claimed task; return whether its result counts."""
    with storage.heartbeats(claim):
        on_task(claim.task)
        return claim.complete(runner.run(claim.task))


def write_description(folder: Path, storage: StudyStorage, keep_runs: bool, cache_gb: float | None = None) -> None:
    """Write what workers need to know into a study's folder.

    Args:
        folder: The study's folder.
        storage: The study.
        keep_runs: Whether each trained network is kept as a run.
        cache_gb: Most gigabytes that decoded images may take on disk; None: the default.
    """
    description = {
        "schema_version": SCHEMA_VERSION,
        "storage": storage.url,
        "study": storage.name,
        "keep": keep_runs,
        "cache_gb": cache_gb,
        "experiment": storage.experiment.to_dict(),
    }
    # Only its owner may read the file, since the database's URL may have a password.
    write_text(folder / DESCRIPTION, json_text.dump(description, indent=1) + "\n", mode=0o600)


def open_study(folder: Path) -> tuple[StudyStorage, TaskRunner]:
    """Open the study of a folder.

    Raises:
        UsageError: The folder has no study, or its description is damaged.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UsageError(f"{folder}: not the folder of a study; it has no {DESCRIPTION}")
    description = json_text.read(path)
    try:
        version = description.get("schema_version", SCHEMA_VERSION)
        experiment = Experiment.from_dict(description["experiment"])
        storage, name, keep_runs = description["storage"], description["study"], description["keep"]
        cache_gb = description.get("cache_gb")
        newer = version > SCHEMA_VERSION
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UsageError(f"{path}: not the description of a study, as 'convwright scale search' writes it") from None
    if newer:
        raise UsageError(f"{path}: a newer version of Convwright wrote it; update Convwright")
    runner = TaskRunner(experiment, folder / "trials", data_opener(experiment, cache_gb), keep_runs)
    return StudyStorage(storage, name, experiment), runner


@contextmanager
def worker_processes(folder: Path, count: int) -> Iterator["WorkerProcesses"]:
    """Start workers on a study's folder, with the processor's cores divided among them; stop them at the end."""
    workers = WorkerProcesses(folder, divide_cores(available_cores(), count))
    try:
        yield workers
    finally:
        workers.stop()


class WorkerProcesses:
    """Worker processes with cores of their own, which write their messages to files in the study's folder."""

    def __init__(self, folder: Path, cores: list[list[int]]) -> None:
        self.folder, self.cores = folder, cores
        self.restarts = 0
        self.processes = [self._start(index) for index in range(len(cores))]

    def check(self) -> bool:
        """Restart workers that died, and return whether any is still at work.

        Raises:
            ConvwrightError: A worker failed, or workers died again and again.
        """
        for index, process in enumerate(self.processes):
            status = process.poll()
            if status in (None, 0):
                continue
            if status in (1, 2) or self.restarts >= RESTARTS * len(self.processes):
                raise ConvwrightError(f"a worker failed: {self._last_message(index)}")
            self.restarts += 1
            self.processes[index] = self._start(index)
        return any(process.poll() is None for process in self.processes)

    def stop(self) -> None:
        """Stop all workers, which write a checkpoint first, and wait for them."""
        for process in self.processes:
            if process.stdin is not None:
                with suppress(OSError):  # the worker has ended
                    process.stdin.close()
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        cores = self.cores[index]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(len(cores)))
        command = [sys.executable, "-m", "convwright", "scale", "work", str(self.folder)]
        command += ["--cores", ",".join(map(str, cores)), "--tied"]
        with self._log(index).open("ab") as log:
            # The pipe closes when this process stops the worker, or ends in whatever way; then the worker stops. In a
            # session of its own, a worker gets no Ctrl-C of the terminal: that would be a first signal, and the stop
            # that follows a second one, which does not let the worker write its checkpoint.
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | threads,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    def _log(self, index: int) -> Path:
        return self.folder / f"worker{index + 1}.log"

    def _last_message(self, index: int) -> str:
        lines = self._log(index).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        message = lines[-1].removeprefix("convwright: ") if lines else "without a message"
        return f"{message} ({self._log(index)})"

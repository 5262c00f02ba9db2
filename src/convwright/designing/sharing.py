"""Rounds of a race on worker processes or a Ray cluster, as the process of the design sees them."""

import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convwright.data.opened import Data
from convwright.designing.candidates import Candidate
from convwright.designing.clock import Clock
from convwright.designing.request import DesignRequest
from convwright.designing.shared_race import RaceStorage, open_storage, ready_file, seconds_for, tasks_of
from convwright.designing.state import CLOCK, State
from convwright.designing.trials import MIN_TRIAL_SECONDS, NO_TIME, TOO_LITTLE_SHARE, Trainer, Trial
from convwright.errors import ConvwrightError
from convwright.files import packed
from convwright.scaling.cluster import Cluster
from convwright.scaling.halving import Task
from convwright.scaling.worker import WorkerProcesses, worker_processes
from convwright.training.interrupt import Interrupted
from convwright.training.plan import absolute_spec, crop_scale

MAX_START_SECONDS = 60.0
"""Seconds after which workers that have not started yet are no longer waited for."""
POLL = 0.5
"""Seconds between checks of what workers have done."""

Report = Callable[[Candidate, Trial, int, int], None]
"""Called with a trial that has ended, its candidate, its number in the round and the number of the round's trials."""


@dataclass
class SharedRounds:
    """The workers of a race, and the study that they share."""

    state: State
    trainer: Trainer
    storage: RaceStorage
    workers: WorkerProcesses | None = None
    cluster: Cluster | None = None
    shown: set[Task] = field(default_factory=set)

    @property
    def slots(self) -> int:
        """Number of trials at once."""
        return self.cluster.size if self.cluster else len(self.workers.processes) if self.workers else 1

    def run(self, round_: int, until: float, report: Report) -> list[Trial]:
        """Have all trials of a round trained that have not ended, and return them in the order of the round.

        Args:
            round_: The round, which has been planned.
            until: Passed seconds of the design at which the round should end.
            report: Called with each trial that has ended.

        Raises:
            ConvwrightError: The database does not answer, or a worker failed.
            Interrupted: The design was stopped.
        """
        names = self.state.rounds[round_]
        if len(self.state.plans) <= round_:
            waves = -(-len(names) // self.slots)
            seconds = max(0.0, until - self.trainer.clock.passed) / waves
            self.state.plans.append({"seconds": seconds, "until": until})
            self.state.save()
        try:
            if self.cluster:
                self.cluster.run_tasks(
                    self.storage,
                    lambda task: self._send(task, self.cluster),
                    place=lambda task: self.trainer.folder / self.trainer.place(task.candidate, int(task.epochs)),
                    on_wait=lambda: self._watch(until, report),
                )
            else:
                while self.storage.remaining() is not None:
                    if self.workers:
                        self.workers.check()
                    self._watch(until, report)
                    time.sleep(POLL)
            self._watch(until, report)
        except KeyboardInterrupt as stopped:
            raise Interrupted("stopped", getattr(stopped, "number", signal.SIGINT)) from None
        finally:
            self.storage.release_claims()
        results = self.storage.results()
        return [results[task] for task in tasks_of(self.state)]

    def _watch(self, until: float, report: Report) -> None:
        """Keep the clock written, report the trials that have ended, and give up those that have no time left."""
        clock = self.trainer.clock
        clock.save(now=False)
        tasks, results = tasks_of(self.state), self.storage.results()
        ended = [task for task in tasks if task in results]
        for task in ended:
            if task not in self.shown:
                self.shown.add(task)
                report(self.state.candidates[task.candidate], results[task], len(self.shown & {*tasks}), len(tasks))
        left = until - clock.passed
        if ended and left < max(MIN_TRIAL_SECONDS, TOO_LITTLE_SHARE * self.state.plans[-1]["seconds"]):
            for task, name in tasks.items():
                round_ = int(task.epochs)
                if left >= MIN_TRIAL_SECONDS and self.trainer.started(task.candidate, round_):
                    continue  # its worker died: another one continues it
                if task not in results and (claim := self.storage.claim(task)) is not None:
                    claim.complete(Trial(name, round_, task.seed, "", 0.0, "", 0, 0.0, 0.0, problem=NO_TIME))

    def _send(self, task: Task, cluster: Cluster | None) -> Any:
        """Send a trial to the cluster, with its images and everything that is settled here."""
        assert cluster is not None
        round_ = int(task.epochs)
        seconds = seconds_for(self.state, round_, self.trainer.clock.passed)
        candidate = self.trainer.with_recipe(self.state.candidates[task.candidate], seconds)
        key = (candidate.network.resolution, candidate.fields.get("recipe"))
        data = cluster.send(key, lambda: _portable_data(self.trainer.data, candidate))
        arguments = (candidate.to_dict(), data, task.candidate, round_, seconds, task.seed, cluster.cores)
        return cluster.remote(_train).remote(*arguments)


@contextmanager
def shared_rounds(request: DesignRequest, state: State, trainer: Trainer) -> Iterator[SharedRounds]:
    """Start the workers of a race; stop them at the end.

    Raises:
        ConvwrightError: The database or the cluster does not answer, or a worker failed.
        ImagesChangedError: It failed because the images have changed.
    """
    storage, options = open_storage(request, state.key), request.execution
    storage.ends_with_round = True
    rounds = SharedRounds(state, trainer, storage)
    with explain_changed_images(request, state), ExitStack() as stack:
        if options.cluster is not None:
            rounds.cluster = stack.enter_context(Cluster(options.cluster, options.cores_per_task))
        else:
            stack.callback(_forget_workers, request.out)
            rounds.workers = stack.enter_context(worker_processes(request.out, options.workers))
            _await(rounds.workers, request.out)
        yield rounds


@contextmanager
def explain_changed_images(request: DesignRequest, state: State) -> Iterator[None]:
    """Let a failure of workers that is due to changed images have the message of a design without workers.

    Args:
        request: The request of the design.
        state: The design, which knows the images that it began with.

    Raises:
        ImagesChangedError: The images have changed since the design began.
    """
    try:
        yield
    except ConvwrightError:
        request.check_unchanged(state.fingerprint)
        raise


def _await(workers: WorkerProcesses, folder: Path) -> None:
    """Wait until all workers have opened the images, so that the time of the first trials is theirs alone."""
    end = time.monotonic() + MAX_START_SECONDS
    while time.monotonic() < end and workers.check():
        if all(ready_file(folder, process.pid).exists() for process in workers.processes):
            return
        time.sleep(POLL / 5)


def _forget_workers(folder: Path) -> None:
    for path in folder.glob("worker-*.ready"):
        path.unlink(missing_ok=True)


def _portable_data(data: Data, candidate: Candidate) -> Data:
    """Return data that needs no files, since a candidate's images are opened in it."""
    resolution = candidate.network.resolution
    travelling = replace(data, spec=absolute_spec(data.spec), held=None)
    dataset = travelling.dataset(resolution)
    travelling.with_larger(dataset, crop_scale(dataset, _recipe_of(candidate), candidate.fields))
    return travelling


def _recipe_of(candidate: Candidate) -> Any:
    return candidate.fields.get("recipe")


def _train(
    described: Mapping[str, Any], data: Data, number: int, round_: int, seconds: float, seed: int, cores: int
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Train a candidate on a Ray worker; return the trial, and the files of its run."""
    import torch

    torch.set_num_threads(cores)
    candidate = Candidate.from_dict(described)
    with tempfile.TemporaryDirectory(prefix="convwright-trial-") as name:
        folder = Path(name)
        trainer = Trainer(data, folder, Clock(folder / CLOCK, seconds), seed, progress=False)
        trial = trainer.run(candidate, number, round_, seconds)
        place = folder / trainer.place(number, round_)
        if trial.problem is None and not place.is_dir():
            raise ConvwrightError(f"{candidate.name}: its run is missing")
        return trial.to_dict(), packed(place)

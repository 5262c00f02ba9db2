"""Workers: each takes the next task that nobody is at work on, until none is left."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from convwright import json_text
from convwright.errors import ConvwrightError, UsageError
from convwright.files import write_text
from convwright.machine import available_cores
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyStorage
from convwright.scaling.trial import Trials, opener
from convwright.training.interrupt import Interrupted

POLL = 0.5
"""Seconds between looks at what others have ended."""
RESTARTS = 3
"""How often a worker that dies is started again."""
DESCRIPTION = "study.json"
GO_ON = "and the same command goes on"


def work(storage: StudyStorage, trials: Trials, on_task: Callable[[Task], None] = lambda task: None) -> None:
    """Run tasks until the schedule has none left; wait where others still run what the next rung depends on."""
    experiment = storage.experiment
    for task in storage.results():  # of one that was killed before it did
        trials.tidy(task)
    while True:
        left = experiment.schedule.remaining({task: one.accuracy for task, one in storage.results().items()})
        if not left:
            return
        taken = storage.running()
        free = [task for task in experiment.in_order(left) if task not in taken]
        claim = storage.claim(free[0]) if free else None
        if claim is None:
            time.sleep(POLL)
            continue
        on_task(claim.task)
        try:
            with storage.alive(claim):
                counts = claim.complete(trials.run(claim.task))
        except Interrupted as stopped:  # its own words would name the training to go on with
            raise Interrupted(f"stopped; what has been trained is kept, {GO_ON}", stopped.number) from None
        if counts:  # else another one may be training it in the same folder
            trials.tidy(claim.task)


def describe(folder: Path, storage: StudyStorage, keep: bool) -> None:
    """Write down in a study's folder what its workers need to know."""
    about = {"storage": storage.url, "study": storage.name, "keep": keep, "experiment": storage.experiment.to_json()}
    # For nobody else to read, as the database's URL may hold a password.
    write_text(folder / DESCRIPTION, json_text.dump(about, indent=1) + "\n", mode=0o600)


def described(folder: Path) -> tuple[StudyStorage, Trials]:
    """Open the study of a folder. UsageError if it holds none."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UsageError(f"{folder}: not the folder of a study; it has no {DESCRIPTION}")
    about = json_text.read(path)
    try:
        experiment = Experiment.from_json(about["experiment"])
        storage, name, keep = about["storage"], about["study"], about["keep"]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UsageError(f"{path}: not the description of a study, as 'convwright scale search' writes it") from None
    return StudyStorage(storage, name, experiment), Trials(experiment, folder / "trials", opener(experiment), keep)


@contextmanager
def processes(folder: Path, count: int) -> Iterator["Team"]:
    """Start so many workers on a study's folder, the processor's cores divided among them; stop them at the end."""
    team = Team(folder, divided(available_cores(), count))
    try:
        yield team
    finally:
        team.stop()


def divided(cores: Sequence[int], count: int) -> list[list[int]]:
    """Deal cores out to workers. UsageError if there are not enough."""
    if not 1 <= count <= len(cores):
        raise UsageError(f"--workers {count}: this machine has {len(cores)} cores; take 1 to {len(cores)}")
    bounds = [len(cores) * index // count for index in range(count + 1)]
    return [list(cores[low:high]) for low, high in pairwise(bounds)]


class Team:
    """Worker processes, each on cores of its own; what they say goes to files in the study's folder."""

    def __init__(self, folder: Path, cores: list[list[int]]) -> None:
        self.folder, self.cores = folder, cores
        self.restarts = 0
        self.members = [self._start(index) for index in range(len(cores))]

    def check(self) -> bool:
        """Start again who died; return whether any is still at work. ConvwrightError if they die again and again."""
        for index, member in enumerate(self.members):
            status = member.poll()
            if status in (None, 0):
                continue
            if status in (1, 2) or self.restarts >= RESTARTS * len(self.members):
                raise ConvwrightError(f"a worker failed: {self._last_words(index)}")
            self.restarts += 1
            self.members[index] = self._start(index)
        return any(member.poll() is None for member in self.members)

    def stop(self) -> None:
        """Ask everybody to stop where they are, and wait for it."""
        for member in self.members:
            if member.poll() is None:
                member.terminate()
        for member in self.members:
            try:
                member.wait(30)
            except subprocess.TimeoutExpired:
                member.kill()

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        cores = self.cores[index]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(len(cores)))
        command = [sys.executable, "-m", "convwright", "scale", "work", str(self.folder)]
        command += ["--cores", ",".join(map(str, cores)), "--tied"]
        with self._log(index).open("ab") as log:
            # The pipe closes with this process, however it ends; then workers stop too. Ctrl-C comes to this process
            # alone, since the second signal, of `stop`, would not let a worker write its checkpoint.
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | threads,
                start_new_session=True,
            )

    def _log(self, index: int) -> Path:
        return self.folder / f"worker{index + 1}.log"

    def _last_words(self, index: int) -> str:
        lines = self._log(index).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("convwright: ") if lines else "it said nothing"
        return f"{said} ({self._log(index)})"

"""Trials of a design: each trains one candidate for some seconds, and predicts the validation images."""

import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from convwright.arch import at
from convwright.arch.resolution import sides
from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.designing.candidates import FIXED_FIELDS, TRIAL_FACTORS, Candidate
from convwright.designing.clock import Clock, FeaturesTooSlowError, TimeLimit
from convwright.designing.families import CandidateLimits
from convwright.designing.request import images_changed
from convwright.errors import (
    ArgumentError,
    ConvwrightWarning,
    DataError,
    DataTooLargeError,
    ImagesChangedError,
    NotFiniteError,
    OutOfMemoryError,
    RunError,
    RunHeldError,
    UsageError,
)
from convwright.evaluation.evaluating import measure
from convwright.prediction.network import load
from convwright.stats.intervals import wilson
from convwright.stats.paired import PairedCounts
from convwright.training.advice import LARGEST, SIDES, advise
from convwright.training.failures import is_out_of_memory
from convwright.training.precision import DivergedError
from convwright.training.prepare import TOO_SHORT, prepare
from convwright.training.progress_bar import progress_callback
from convwright.training.request import TrainRequest
from convwright.training.run import Run
from convwright.training.start import Execution, resume_run, train_plan

MIN_TRIAL_SECONDS = 4.0
"""Seconds of a round, whose trials took longer than planned, below which no further trial starts."""
OUT_OF_TIME = "out of time"
"""Beginning of the reason why a candidate lost, if it had too little time to learn or none."""
NO_TIME = f"{OUT_OF_TIME}: earlier trials used up the time of this round"
"""Problem of a trial that was never started."""
TOO_LITTLE_SHARE = 0.6
"""Share of the planned seconds, or epochs, of a trial below which it has too little time to learn."""
OVERTIME_FACTOR = 1.15
"""Factor of a trial's seconds at which it is stopped, where the machine has become slower than it was measured."""
FEATURES_FACTOR = float(max(TRIAL_FACTORS))
"""Factor of a trial's seconds that the features of a frozen backbone may take; later trials find them kept."""


@dataclass(frozen=True)
class Trial:
    """A candidate that has been trained for some time."""

    candidate: str
    round: int
    seed: int
    run: str
    """Run directory, below the folder of the design."""
    accuracy: float
    """Share of the validation images that are right, 0 to 1; 0 where training diverged."""
    correct: str = field(repr=False)
    """Whether each validation image is right: a bit each, as hexadecimal digits."""
    images: int
    """Number of validation images."""
    epochs: float
    """Epochs that were trained: fewer than planned where the trial was stopped."""
    seconds: float
    """Seconds of the whole trial, in all sessions of the design."""
    learning_rate: float = 0.0
    problem: str | None = None
    """Why there is no network: training diverged, or it could not be built. None if there is one."""
    stopped: bool = False
    """Whether it was stopped before its last step because its time was over."""
    image_seconds: float = 0.0
    """Seconds in which the network predicts a validation image; 0 where that was not measured."""
    planned_epochs: float = 0.0
    """Epochs that were planned for its time; 0 where that is unknown."""
    chance: float = 0.0
    """Share of the most frequent class among the validation images; 0 where that is unknown."""

    @property
    def too_short(self) -> str:
        """Why the trial had too little time to learn, as a clause; empty if it had enough."""
        if self.stopped and self.epochs < TOO_LITTLE_SHARE * self.planned_epochs:
            return f"it was stopped after {self.epochs:.2g} of {self.planned_epochs:.2g} planned epochs"
        if self.problem is None and self.epochs < 1 and self.images:
            low, _ = wilson(round(self.accuracy * self.images), self.images)
            if low <= self.chance:
                return (
                    f"after {self.epochs:.2g} epochs its accuracy is not significantly higher than that of always "
                    "predicting the most frequent class"
                )
        return ""

    def right(self) -> torch.Tensor:
        """Return whether each validation image is right, bool."""
        bits = bytes.fromhex(self.correct)
        return torch.tensor([bool(bits[i // 8] >> i % 8 & 1) for i in range(self.images)], dtype=torch.bool)

    def against(self, other: "Trial") -> PairedCounts:
        """Return how often only one of two trials is right."""
        mine, others = self.right(), other.right()
        return PairedCounts(int((mine & ~others).sum()), int((others & ~mine).sum()), self.images)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `Trial(**...)` makes an equal trial."""
        return dict(vars(self))


def pack_bits(right: torch.Tensor) -> str:
    """Return booleans as hexadecimal digits, eight to a byte, the first in the lowest bit."""
    bits = right.tolist()
    return bytes(sum(bit << i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)).hex()


def problem_of_candidate(error: Exception) -> str:
    """Return why a candidate could not be trained, in one line; empty where the cause concerns all candidates."""
    if isinstance(error, DivergedError):
        problem = f"diverged: {error}"
    elif is_out_of_memory(error):
        problem = error.problem if isinstance(error, OutOfMemoryError) else f"out of memory: {error}".removesuffix(": ")
    elif isinstance(error, NotFiniteError | FeaturesTooSlowError | DataTooLargeError):
        problem = str(error)
    elif isinstance(error, ArgumentError) and isinstance(error.cause, DataTooLargeError):
        problem = error.reason
    elif isinstance(error, UsageError) and not isinstance(error, RunHeldError | DataError | ImagesChangedError):
        problem = "" if getattr(error, "argument", "") == "data" else str(error)
    else:
        problem = ""
    return " ".join(problem.split())


def most_frequent_share(labels: torch.Tensor) -> float:
    """Return the share of the most frequent class among images: the accuracy of always predicting it.

    Args:
        labels: Class of each image, int64.
    """
    return int(labels.bincount().max()) / len(labels)


def trained_epochs(run: Run) -> float:
    """Return the epochs that a finished run was trained, which are fewer than planned where it was stopped."""
    return run.metrics[-1]["epoch"]


@dataclass(frozen=True)
class Trainer:
    """Trains candidates of a design."""

    data: Data
    folder: Path
    """Folder of the design."""
    clock: Clock
    seed: int = 0
    progress: bool = True

    def run(
        self, candidate: Candidate, number: int, round_: int, seconds: float, callbacks: Sequence[object] = ()
    ) -> Trial:
        """Train a candidate for some seconds and predict the validation images; a stopped trial is resumed.

        Args:
            candidate: The candidate.
            number: Its number, for the name of the run directory.
            round_: Round of the race.
            seconds: Time of the trial, with its preparation and validation.
            callbacks: Objects with methods of `Callback`.

        Raises:
            ConvwrightError: Something failed that concerns all candidates: the data, the disk or another process.
            Interrupted: The design was stopped.
        """
        started = time.monotonic()
        place = self.place(number, round_)
        path = self.folder / place
        try:
            run = self.train(candidate, path, seconds, callbacks=callbacks)
            right, image_seconds = self._predict_validation(run)
        except ImagesChangedError as error:
            raise images_changed(self.data.spec, str(error)) from None
        except Exception as error:
            if not (problem := problem_of_candidate(error)):
                raise
            shutil.rmtree(path / "checkpoints", ignore_errors=True)
            return self._failed_trial(candidate, round_, place, problem, started)
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
        return Trial(
            candidate.name,
            round_,
            self.seed,
            place,
            float(right.double().mean()),
            pack_bits(right),
            len(right),
            trained_epochs(run),
            max(time.monotonic() - started, run.summary.train_seconds),  # with those of earlier sessions
            run.config.recipe.learning_rate,
            stopped=run.summary.stopped_early,
            image_seconds=image_seconds,
            planned_epochs=run.config.total_epochs,
            chance=most_frequent_share(self.data.dataset().val.labels),
        )

    def started(self, number: int, round_: int) -> bool:
        """Return whether a trial has a run directory, from which it continues."""
        return (self.folder / self.place(number, round_) / "config.yaml").exists()

    def place(self, number: int, round_: int) -> str:
        """Return the run directory of a trial, below the folder of the design."""
        return f"race/{round_}-{number:02d}"

    def _predict_validation(self, run: Run) -> tuple[torch.Tensor, float]:
        """Return whether each validation image is right, bool, and the seconds for an image."""
        images = self._images_for(run)
        if not torch.equal(images.val.labels, self.data.dataset().val.labels):
            raise images_changed(self.data.spec)
        predictor = load(run)
        started = time.monotonic()
        _, predictions = measure(predictor, images, {"val": images.val}, doing="validating")
        return predictions.correct, (time.monotonic() - started) / len(images.val)

    def predict_test(self, run: Run, positions: torch.Tensor) -> torch.Tensor:
        """Return whether a run classifies some test images correctly, bool.

        Args:
            run: The run of a trial.
            positions: Positions of the images in the test split, int64.

        Raises:
            ConvwrightError: The run is damaged, or the images cannot be opened at its resolution.
        """
        images = self._images_for(run)
        assert images.test is not None  # a design without test images does not begin
        chosen = {"test": images.test.choose(positions)}
        return measure(load(run), images, chosen, doing="comparing on test images")[1].correct

    def _images_for(self, run: Run) -> Dataset:
        """Return the images at the resolution of a run, normalised as in its training."""
        images = self.data.dataset(run.config.resolution)
        return run.data.normalising(images) if run.initial.exists() else images

    def train(
        self,
        candidate: Candidate,
        path: Path,
        seconds: float,
        until: float | Callable[[], float] | None = None,
        callbacks: Sequence[object] = (),
    ) -> Run:
        """Train a candidate into a run directory; one that is there is resumed.

        Args:
            candidate: The candidate.
            path: The run directory.
            seconds: Time of the training.
            until: Passed seconds of the design at which training ends, or a function that gives them during training;
                by default some time after `seconds`.
            callbacks: Objects with methods of `Callback`.

        Raises:
            FeaturesTooSlowError: Features would take longer than `until`, or by default than some times `seconds`.
        """
        passed = self.clock.passed
        if until is None:
            limit = TimeLimit(self.clock, passed + OVERTIME_FACTOR * seconds, passed + FEATURES_FACTOR * seconds)
        else:
            limit = TimeLimit(self.clock, until)
        shown = self.progress and sys.stderr.isatty()  # a line for each epoch of each trial is too much for a file
        called = [limit, *([progress_callback(candidate.name)] if shown else []), *callbacks]
        if (path / "config.yaml").exists():
            try:
                run = Run.open(path)
            except RunError:
                shutil.rmtree(path)
            else:
                return resume_run(run, called, Execution(checkpoint_every=0.25), progress=False)
        elif path.exists():
            shutil.rmtree(path)
        with warnings.catch_warnings():
            # The race compares short trainings, so this advice to the users of `train` does not apply.
            warnings.filterwarnings("ignore", f".*{TOO_SHORT}", ConvwrightWarning)
            plan = prepare(self.request(candidate, path, seconds), progress=False)
        return train_plan(plan, called, progress=False)

    def request(self, candidate: Candidate, path: Path, seconds: float) -> TrainRequest:
        """Return the request to train a candidate for some seconds."""
        fields: Mapping[str, Any] = {**self._recipe(candidate, seconds), **candidate.fields}
        return TrainRequest(
            data=self.data,
            network=candidate.network,
            resolution=candidate.network.resolution,
            fit=False,
            minutes=seconds / 60,
            seed=self.seed,
            split_seed=self.data.seed,
            out=path,
            checkpoint_every=0.25,
            **fields,
        )

    def with_recipe(self, candidate: Candidate, seconds: float) -> Candidate:
        """Return a candidate whose fields include the recipe for a training of some seconds."""
        return replace(candidate, fields={**self._recipe(candidate, seconds), **candidate.fields})

    def _recipe(self, candidate: Candidate, seconds: float) -> dict[str, Any]:
        """Return how a candidate is trained: from scratch with the recipe `fast`, else as advised for the time."""
        weights = candidate.fields.get("weights")
        if "recipe" in candidate.fields or "freeze" in candidate.fields:
            return {}  # settled before
        if weights is None:
            return {"recipe": "fast"}
        advice = advise(self._open(candidate, seconds, resolution=candidate.network.resolution))
        return {name: value for name, value in advice.fields().items() if name not in FIXED_FIELDS}

    def _open(self, candidate: Candidate, seconds: float, **fields: Any) -> TrainRequest:
        """Return a request that leaves open how a candidate with published weights is trained."""
        weights = str(candidate.fields["weights"])
        return TrainRequest(data=self.data, network=candidate.network, weights=weights, minutes=seconds / 60, **fields)

    def enlarge(self, candidate: Candidate, seconds: float, limits: CandidateLimits, *, frozen: bool) -> Candidate:
        """Return a candidate with published weights at the resolution that suits a longer training.

        The race compares such networks at a resolution whose features take little time. More pixels usually give a
        better accuracy, where the budget allows them. Other candidates are returned as they are.

        Args:
            candidate: The winner of the race.
            seconds: Time of its training.
            limits: What a candidate may cost.
            frozen: Whether the race trained its classifier alone. The fields of the race are kept if the longer
                training does so too, as a learning rate of a classifier does not suit all weights.
        """
        if candidate.fields.get("weights") is None:
            return candidate
        largest = replace(candidate, network=at(candidate.network, resolution=LARGEST))
        advice = advise(self._open(largest, seconds))
        if advice.freeze != frozen:
            candidate = replace(candidate, fields={"weights": candidate.fields["weights"]})
        highest, current = (min(sides(size)) for size in (advice.resolution, candidate.network.resolution))
        for side in SIDES:
            larger = at(candidate.network, resolution=side) if current < side <= highest else None
            if larger is not None and not limits.exceeded_by(larger):
                return replace(candidate, network=larger)
        return candidate

    def _failed_trial(self, candidate: Candidate, round_: int, place: str, problem: str, started: float) -> Trial:
        seconds = time.monotonic() - started
        return Trial(candidate.name, round_, self.seed, place, 0.0, "", 0, 0.0, seconds, problem=problem)

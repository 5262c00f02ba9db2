"""A design from its data to its dossier, in steps that a stopped design continues from."""

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from convwright import json_text
from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.arch.resolution import Resolution, format_resolution, resolution_of, sides
from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.designing.candidates import (
    Candidate,
    LeftOut,
    first_candidates,
    pretrained_candidates,
    seconds_per_image,
)
from convwright.designing.clock import Clock, FeaturesTooSlowError
from convwright.designing.distillation import distilled, over_budget
from convwright.designing.dossier import winner_figures, write_dossier
from convwright.designing.examination import examine, open_images
from convwright.designing.families import FAMILIES, Limits, smallest
from convwright.designing.race import Race, first_trial_seconds
from convwright.designing.request import SPLIT, DesignRequest
from convwright.designing.result import DesignResult
from convwright.designing.shipping import Shipped, can_export, ship
from convwright.designing.state import CLOCK, DECISIONS, DOSSIER, STATE, State
from convwright.designing.threads import fastest_threads
from convwright.designing.trials import Trainer, Trial
from convwright.display.progress import print_progress
from convwright.errors import ArgumentError, ConvwrightError, DataError, RunError, RunHeldError, UsageError, argument
from convwright.evaluation.evaluating import evaluate_run
from convwright.evaluation.result import Evaluation
from convwright.files import write_text
from convwright.locks import LockHeldError, locked
from convwright.places import check_folder
from convwright.reporting.measuring import measure_runs
from convwright.scaling.budget import LATENCY, Budget, format_amount, used
from convwright.scaling.latency import Stopwatch
from convwright.training.frozen import keeping_features
from convwright.training.interrupt import Interrupted
from convwright.training.run import Run
from convwright.training.step import DivergedError

ENLARGED = ", enlarged"
"""End of the name of a winner that is trained with more pixels than in the race."""
WINNER = "winner"
"""Run directory of the long training of the winner, in the folder of a design."""
RACE = 0.45
"""Share of the time between examination and shipping that the race takes."""
LEAST_EPOCHS = 8.0
"""Epochs that the winner should be able to train."""
SHIPPING, LEAST_SHIPPING, MOST_SHIPPING = 0.1, 15.0, 150.0
"""Share of a design's time that is kept for export and dossier, and bounds of it in seconds."""
SCRATCH_SIDE, LONG_SCRATCH_SIDE, LONG = 64, 96, 3600.0
"""Largest side of images from scratch, in pixels, in designs shorter and longer than these seconds."""
MEASURING = 0.05
"""Share of a design's time after which no further family is measured."""
UNHURRIED = 0.93
"""Share of the time that is left for which the winner is planned, as a machine may become slower."""
CHECKS = 3
"""Measurements of the smallest network, of which the fastest counts: other programs may slow some of them down."""
CERTAIN = 0.6
"""Share of the winner's time for which its resolution is chosen: features cannot be stopped once they are computed."""
SCORING = 0.3
"""Share of the time that is left in the end which the scores of class activation maps may take."""


def design(request: DesignRequest, *, progress: bool = True) -> DesignResult:
    """Design a network, or continue the design in the request's folder.

    Args:
        request: Data, budget and time.
        progress: Whether to show on standard error how far the design has come.

    Returns:
        The network, its file and its dossier.

    Raises:
        ArgumentError: The folder holds another design, or nothing keeps the budget.
        DataError: The data cannot be learnt from.
        Interrupted: The design was stopped; an equal call continues it.
    """
    check_folder("out", request.out)
    if request.execution.shared:
        request.execution.check(request.data, request.out)
    _make(request.out)
    try:
        with locked(request.out / ".lock", wait=False, required=False), _stoppable(request.out), keeping_features():
            return _Design(request, progress=progress).run()
    except LockHeldError:
        raise RunHeldError(f"{request.out}: another process is working on this design") from None


def resume_design(folder: Path, *, execution: Mapping[str, Any] | None = None, progress: bool = True) -> DesignResult:
    """Continue the design in a folder; a finished one is returned as it is.

    Args:
        folder: The folder of the design.
        execution: Fields of `Execution` that change.
        progress: Whether to show on standard error how far the design has come.

    Raises:
        RunError: The folder holds no design, or its files are damaged.
    """
    request = DesignRequest.from_dict(State.open(folder).request, folder)
    changes = {name: value for name, value in (execution or {}).items() if value is not None}
    return design(replace(request, execution=replace(request.execution, **changes)), progress=progress)


@dataclass
class _Design:
    """One design at work."""

    request: DesignRequest
    progress: bool
    state: State = field(init=False)
    clock: Clock = field(init=False)
    data: Data = field(init=False)
    """The data, split if it was not."""

    def run(self) -> DesignResult:
        self.state = self._state()
        self.clock = Clock(self.request.out / CLOCK, self.request.seconds)
        self.clock.save()
        data = self._examined()
        if self.request.execution.shared or self.state.winner:
            return self._designed(data)
        usual, least = torch.get_num_threads(), self._smallest(data)
        with fastest_threads(lambda: seconds_per_image(least)) as threads:
            if threads < usual:
                self.report("other programs keep this machine busy: one thread is faster than several")
            return self._designed(data)

    def _designed(self, data: Dataset) -> DesignResult:
        """Find candidates, race them, train the winner and finish, as far as that has not been done."""
        if not self.state.candidates:
            self._find_candidates(data)
        trainer = Trainer(self.data, self.request.out, self.clock, self.request.seed, self.progress)
        if not self.state.winner:
            best = self._raced(trainer)
            self.request.check_unchanged(self.state.fingerprint)
            self._train_winner(best, trainer)
        return self._finished()

    def _raced(self, trainer: Trainer) -> Trial:
        """Run the race, or what remains of it, and return the winner's trial."""
        limits = self.limits  # measured before workers share the machine
        with ExitStack() as stack:
            shared = None
            if self.request.execution.shared and not self.state.race_ended:
                from convwright.designing.sharing import shared_rounds  # needs SQLAlchemy

                shared = stack.enter_context(shared_rounds(self.request, self.state, trainer))
            return Race(self.state, trainer, limits, self._race_seconds, self.report, shared).run()

    def report(self, text: str) -> None:
        """Show a line with the time that has passed, and keep that time."""
        self.clock.save()
        if self.progress:
            minutes, seconds = divmod(int(self.clock.passed), 60)
            print_progress(f"{minutes:3d}:{seconds:02d}  {text}")

    def _state(self) -> State:
        folder, request = self.request.out, self.request.to_dict()
        if (folder / STATE).exists():
            state = State.open(folder)
            results = request.keys() - {"execution"}
            differing = [name for name in request if name in results and state.request.get(name) != request[name]]
            if not state.fingerprint or (differing and not state.candidates):  # nothing has been trained for it
                for name in (SPLIT, CLOCK):
                    (folder / name).unlink(missing_ok=True)
                return self._new_state()
            if differing:
                raise ArgumentError(
                    "out", f"{folder} holds a design with another {differing[0]}; give another folder, or resume it"
                )
            state.request = request
            return state
        if others := [path.name for path in folder.iterdir() if path.name != ".lock"]:
            raise ArgumentError("out", f"{folder} is not empty ({sorted(others)[0]}); give a new folder")
        return self._new_state()

    def _new_state(self) -> State:
        state = State(self.request.out, self.request.to_dict())
        state.save()
        return state

    def _examined(self) -> Dataset:
        """Open the data, check that it can be learnt from, and note what was found."""
        with argument("data"):
            self.data, data = open_images(self.request, self.state)
        if data.multi_label:
            raise DataError(f"{data.name}: has several labels an image; design needs one label each")
        if data.test is None:
            raise DataError(
                f"{data.name}: has no test images, which measure the winner and influence no choice; add a split `test`"
            )
        if self.state.fingerprint and self.state.fingerprint != data.fingerprint:
            raise RunError(
                f"{data.name}: the images have changed since the design began; restore them and resume the design, or "
                "design again into another folder"
            )
        if not self.state.fingerprint:
            self.state.fingerprint = data.fingerprint
            self.state.decide(
                "data",
                f"{len(data.val):,} validation images judge the race, {len(data.test):,} test images the winner",
                f"{len(data.train):,} images in {len(data.classes)} classes are left for training",
            )
            self.report(
                f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and {len(data.test):,} test "
                f"images in {len(data.classes)} classes"
            )
        if not self.state.images:
            self.state.images = examine(self.data, data, self.request.seconds, self.report).to_dict()
            self.state.save()
        return data

    @property
    def _reserve(self) -> float:
        """Seconds that are kept for export and dossier."""
        return min(MOST_SHIPPING, max(LEAST_SHIPPING, SHIPPING * self.request.seconds))

    @property
    def _race_seconds(self) -> float:
        return RACE * (self.request.seconds - self._reserve)

    @cached_property
    def limits(self) -> Limits:
        """What candidates may cost; the speed of training is measured once per family."""
        data, budget = self.data.dataset(), self.request.budget
        speeds = self.state.speeds
        until = self.clock.passed + MEASURING * self.request.seconds
        for family in FAMILIES:
            if speeds and (self.state.candidates or self.clock.passed > until):
                break  # a design that goes on measures nothing again
            base = family.base(self._scratch_resolution(data), data.channels, len(data.classes))
            if base.name not in speeds:
                speeds[base.name] = seconds_per_image(base) / cost(base).macs
                self.state.save()
        measure = None
        if budget is not None and budget.latency is not None:
            measure = Stopwatch(engine=self.request.engine)
        return Limits(budget, measure, speeds, self._winner_seconds / (LEAST_EPOCHS * len(data.train)))

    def _find_candidates(self, data: Dataset) -> None:
        self._check_time(data)
        self.report("measuring how fast this machine trains each family")
        found = [
            *pretrained_candidates(self.data, len(data.classes), first_trial_seconds(self._race_seconds), self.limits),
            *first_candidates(self._scratch_resolution(data), data.channels, len(data.classes), self.limits),
        ]
        self.state.candidates = [each for each in found if isinstance(each, Candidate)]
        self.state.left_out = [each for each in found if isinstance(each, LeftOut)]
        if not self.state.candidates:
            raise ArgumentError("budget", self._impossible(data))
        self.state.save()
        names = ", ".join(each.name for each in self.state.candidates)
        count = len(self.state.candidates)
        self.state.decide("candidates", f"{count} families take part ({names})", _why(self.request))
        self.report(f"candidates: {names}")

    def _scratch_resolution(self, data: Dataset) -> Resolution:
        """Return the resolution of networks that are trained from scratch: that of the data, up to a limit."""
        if self.data.resolution is not None:
            return data.resolution
        longest = SCRATCH_SIDE if self.request.seconds < LONG else LONG_SCRATCH_SIDE
        factor = min(1.0, longest / max(sides(data.resolution)))
        return resolution_of(*(max(1, round(side * factor)) for side in sides(data.resolution)))

    def _check_time(self, data: Dataset) -> None:
        """Check that the smallest network can be trained for an epoch.

        Raises:
            ArgumentError: The time is too short.
        """
        least = self._smallest(data)
        epoch = min(seconds_per_image(least) for _ in range(CHECKS)) * len(data.train)
        if epoch > self._winner_seconds:
            enough = math.ceil(1.2 * self.request.seconds * epoch / self._winner_seconds / 60)
            raise ArgumentError(
                "minutes",
                f"{self.request.seconds / 60:g} are too few to train the smallest network on all "
                f"{len(data.train):,} images once; give {enough} or more",
            )

    def _smallest(self, data: Dataset) -> Network:
        """Return a network that is about the smallest that the data can be learnt with."""
        return smallest(FAMILIES[1].base(self._scratch_resolution(data), data.channels, len(data.classes)))

    @property
    def _winner_seconds(self) -> float:
        """Seconds that are planned for the training of the winner."""
        return (self.request.seconds - self._reserve) * (1 - RACE)

    def _impossible(self, data: Dataset) -> str:
        """Return what is wrong with a budget that no family keeps, and what the smallest network needs."""
        bases = [family.base(self._scratch_resolution(data), data.channels, len(data.classes)) for family in FAMILIES]
        titled = [(family.title, smallest(base)) for family, base in zip(FAMILIES, bases, strict=True)]
        title, least = min(titled, key=lambda each: cost(each[1]).macs)
        budget, count = self.request.budget or Budget({}), cost(least)
        needs = {name: used(count, name) for name in budget.counted}
        if self.limits.measure is not None:
            needs[LATENCY] = self.limits.measure(least)
        amounts = " and ".join(f"{format_amount(name, amount)} of {name}" for name, amount in needs.items())
        size = format_resolution(least.resolution)
        return f"{budget} is too small for every family; the smallest network, {title} at {size} px, needs {amounts}"

    def _train_winner(self, best: Trial, trainer: Trainer) -> None:
        until = self.request.seconds - self._reserve
        path = self.request.out / WINNER
        best = distilled(
            self.state,
            best,
            trainer,
            until - self.clock.passed,
            self.report,
            started=path.exists(),
            offered=lambda: over_budget(self.state, self.data, len(self.data.dataset().classes), best.seconds),
        )
        winner: dict[str, Any] = {"candidate": best.candidate, "run": best.run}
        left = until - self.clock.passed
        trial_run = Run.open(self.request.out / best.run)
        if left > max(10.0, 0.5 * best.seconds) or path.exists():
            frozen = trial_run.config.recipe.freeze
            candidate = self._enlarged(self.state.candidate(best.candidate), trainer, UNHURRIED * left, frozen=frozen)
            self.report(f"training the winner, {candidate.name}, for {left:.0f} s")
            try:
                try:
                    run, _ = trainer.train(candidate, path, UNHURRIED * left, until)
                except FeaturesTooSlowError as error:
                    candidate = self._smaller_again(candidate, path, error)
                    run, _ = trainer.train(candidate, path, UNHURRIED * (until - self.clock.passed), until)
                found = evaluate_run(run, "val")
            except (DivergedError, FeaturesTooSlowError) as error:
                found = None
                lost = f"longer training failed: {error}"
            else:
                lost = f"longer training gave a lower validation accuracy than its {best.accuracy:.2%}"
            if isinstance(found, Evaluation) and found.accuracy >= best.accuracy:
                winner = {"candidate": candidate.name, "run": WINNER, "accuracy": found.accuracy}
                winner |= {"images": found.images, "epochs": run.config.epochs, "seconds": run.summary.train_seconds}
                self.state.decide(
                    "training",
                    f"the winner is trained for {run.config.epochs:.3g} epochs",
                    f"its validation accuracy is {found.accuracy:.2%}, after {best.accuracy:.2%} in the race",
                )
            else:
                self.state.decide(
                    "training",
                    f"the network of the race is kept ({trial_run.path.name})",
                    lost,
                )
        self.state.winner = winner
        self.state.save()
        self.clock.save()

    def _enlarged(self, candidate: Candidate, trainer: Trainer, seconds: float, *, frozen: bool) -> Candidate:
        """Return the winner at the resolution of its training, which larger networks of the state keep."""
        name = candidate.name + ENLARGED
        for known in self.state.candidates:
            if known.name == name:
                return known  # a stopped design continues with it
        if (self.request.out / WINNER).exists():
            return candidate  # so does one whose training has started at the resolution of the race
        larger = trainer.enlarged(candidate, CERTAIN * seconds, self.limits, frozen=frozen)
        if larger.network == candidate.network:
            return larger
        size, before = (format_resolution(each.network.resolution) for each in (larger, candidate))
        found = replace(larger, name=name, idea="more pixels", parent=candidate.name)
        self.state.candidates.append(found)
        self.state.decide(
            "training",
            f"the winner is trained at {size} px",
            f"the time and the budget allow it; the race compared networks at {before} px, where they train faster",
        )
        return found

    def _smaller_again(self, candidate: Candidate, path: Path, error: FeaturesTooSlowError) -> Candidate:
        """Go back from an enlarged winner to the resolution of the race, whose features are known."""
        if candidate.parent is None or not candidate.name.endswith(ENLARGED):
            raise error
        shutil.rmtree(path)
        self.state.candidates.remove(candidate)
        self.state.decide("training", f"{candidate.name} is dropped", str(error))
        self.report(f"{candidate.name} is dropped: {error}")
        return self.state.candidate(candidate.parent)

    def _finished(self) -> DesignResult:
        if not (self.request.out / DOSSIER).exists():
            self.request.check_unchanged(self.state.fingerprint)
        run = Run.open(self.request.out / self.state.winner["run"])
        started = time.monotonic()
        evaluation = evaluate_run(run, "test")
        if not isinstance(evaluation, Evaluation):
            raise UsageError("design needs images with one label each")
        evaluated = (time.monotonic() - started) / evaluation.images
        shipped = self._shipped(run)
        result = DesignResult(self.request, self.state, run, evaluation, shipped, self.clock.recorded)
        if not (self.request.out / DECISIONS).exists():
            self.report("writing the dossier")
            entries, _ = measure_runs([run], names=[self.state.winner["candidate"]])
            result = replace(result, seconds=self.clock.passed)
            seconds = self.clock.left * SCORING
            write_dossier(self.request.out / DOSSIER, result, winner_figures(entries[0], evaluated, seconds))
            result = replace(result, seconds=self.clock.save())
            write_text(self.request.out / DECISIONS, json_text.dump(result.to_dict(), indent=1) + "\n")
        return result

    def _shipped(self, run: Run) -> Shipped | None:
        if self.state.shipped:
            return Shipped.from_dict(self.state.shipped)
        if not can_export():
            self.state.decide("file", "no file is exported", 'install it with pip install "convwright[deploy]"')
            return None
        self.report("exporting and verifying the file")
        shipped, decisions = ship(run, self.request)
        for decision, reason in decisions:
            self.state.decide("file", decision, reason)
        self.state.shipped = shipped.to_dict()
        self.state.save()
        return shipped


def _why(request: DesignRequest) -> str:
    budget = f"{request.budget} and " if request.budget else ""
    return f"each is the largest of its family within {budget}what {request.seconds / 60:.3g} minutes can train"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvwrightError(f"{folder}: the folder could not be made: {error.strerror}") from None


@contextmanager
def _stoppable(folder: Path) -> Iterator[None]:
    try:
        yield
    except Interrupted as stopped:
        number = stopped.number
        raise Interrupted(f"stopped; continue with `cw.design(resume={str(folder)!r})`", number) from None
    except ConvwrightError as error:
        if type(error) is not ConvwrightError or not (folder / STATE).is_file():
            raise
        raise ConvwrightError(f"{error}; continue with `cw.design(resume={str(folder)!r})`") from None

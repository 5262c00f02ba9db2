"""A design from its data to its dossier, in steps that a stopped design continues from."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from convwright.data.opened import Data
from convwright.data.sources import check_exists
from convwright.designing.clock import Clock
from convwright.designing.context import DesignContext
from convwright.designing.examination import examine, open_images
from convwright.designing.finish import finish, open_finished
from convwright.designing.keep_best import KeepBest
from convwright.designing.planning import Planner
from convwright.designing.race import Race
from convwright.designing.record import best_in_words
from convwright.designing.refused import LOCK, missing_folders, removing_refused
from convwright.designing.request import RECIPE, SPLIT, DesignRequest, RaceExecution, images_changed
from convwright.designing.reserve import Reserve
from convwright.designing.result import DesignResult
from convwright.designing.speed import BRIEF, seconds_per_image
from convwright.designing.state import CLOCK, FEATURES, STATE, State
from convwright.designing.threads import fastest_threads
from convwright.designing.trials import Trial
from convwright.designing.winner import WinnerTraining
from convwright.errors import (
    ArgumentError,
    ConvwrightError,
    RunHeldError,
    UsageError,
    WriteError,
    argument,
    collected,
    together,
)
from convwright.files import names_in
from convwright.locks import LockHeldError, locked
from convwright.places import check_folder
from convwright.training.advice import FAST
from convwright.training.frozen import keeping_features
from convwright.training.interrupt import Interrupted
from convwright.training.recipes import earlier_fields

IN_WORDS = {"data_options": "options of its data", "seconds": "time"}
"""Names in messages of a request's fields, where they differ."""


def design(request: DesignRequest, *, progress: bool = True) -> DesignResult:
    """Design a network, or continue the design in the request's folder.

    Args:
        request: Data, budget and time.
        progress: Whether to show on standard error how far the design has come.

    Returns:
        The network, its file and its dossier. Of a finished design no images are read.

    Raises:
        ArgumentError: The folder holds another design, the data cannot be learnt from, or no network is within the
            budget.
        Interrupted: The design was stopped; an equal call continues it.
    """
    if wrong := problems_of(request.data, request.out, request.execution):
        raise together(wrong)
    before, made = {*names_in(request.out)}, missing_folders(request.out)
    _make(request.out)
    try:
        with (
            locked(request.out / LOCK, wait=False, required=False),
            removing_refused(request.out, before, made),
            _explain_stops(request.out),
            keeping_features(request.out / FEATURES),
        ):
            return _Design(request, progress).run()
    except LockHeldError:
        raise RunHeldError(f"{request.out}: another process is working on this design") from None


def problems_of(data: Data, out: Path, execution: RaceExecution) -> list[UsageError]:
    """Return all errors of a request that can be found without reading images.

    Args:
        data: The images. They are not needed for a design that exists; a finished one is shown without them.
        out: Folder of the design.
        execution: How its trials are carried out.
    """
    wrong: list[UsageError] = []
    if data.held is None and not (out / STATE).exists():
        with collected(wrong), argument("data"):
            check_exists(data.spec)
    with collected(wrong):
        check_folder("out", out)
        _check_free(out)
    if execution.shared:
        with collected(wrong):
            execution.check(data, out)
    return wrong


def _check_free(folder: Path) -> None:
    """Check that a folder holds a design or nothing, before anything is written into it."""
    others = [name for name in names_in(folder) if name != LOCK]
    if others and STATE not in others:
        raise ArgumentError("out", f"{folder} is not empty ({others[0]}); give a new folder")


def resume_design(folder: Path, *, execution: Mapping[str, Any] | None = None, progress: bool = True) -> DesignResult:
    """Continue the design in a folder; a finished one is returned as it is, without its images.

    Args:
        folder: The folder of the design.
        execution: Fields of `RaceExecution` that change.
        progress: Whether to show on standard error how far the design has come.

    Raises:
        ArgumentError: The folder holds no design.
        RunError: Its files are damaged.
    """
    if not (folder / STATE).is_file():
        why = "contains no design" if folder.is_dir() else "does not exist"
        raise ArgumentError("resume", f"{folder} {why}; give the folder of a design")
    request = DesignRequest.from_dict(State.open(folder).request, folder)
    changes = {name: value for name, value in (execution or {}).items() if value is not None}
    return design(replace(request, execution=replace(request.execution, **changes)), progress=progress)


@dataclass
class _Design:
    """One design at work."""

    request: DesignRequest
    progress: bool
    context: DesignContext = field(init=False)
    planner: Planner = field(init=False)

    def run(self) -> DesignResult:
        state = self._open_state()
        clock = Clock(self.request.out / CLOCK, self.request.seconds, counts_process=True)
        if state.finished and (finished := open_finished(self.request, state, clock.recorded)):
            return finished
        clock.save()
        self.context = DesignContext(self.request, state, clock, self.progress)
        self._examine()
        self.planner = Planner(self.context)
        if self.request.execution.shared or state.winner:
            return self._take_steps()
        usual, network = torch.get_num_threads(), self.planner.smallest
        with fastest_threads(lambda: seconds_per_image(network, BRIEF)) as threads:
            if threads < usual:
                self.context.report("other programs keep this machine busy: one thread is faster than several")
            return self._take_steps()

    def _take_steps(self) -> DesignResult:
        """Find candidates, race them, train the winner and finish, as far as that has not been done."""
        state = self.context.state
        if not state.candidates_found:
            if note := self.planner.time_note:
                self.context.report(note)
            if not self.request.execution.shared:
                self._try_first()
            self._survey()
            self.planner.find_candidates()
        if not state.winner:
            best = self._run_race()
            began = self.context.clock.passed
            self.request.check_unchanged(state.fingerprint)
            reserve = Reserve(self.context, self.planner.time, best, self.context.clock.passed - began)
            WinnerTraining(self.context, self.planner, reserve).run(best)
        return finish(self.context)

    def _try_first(self) -> None:
        """Train the first candidate before the others are measured and scaled, which takes longer."""
        context = self.context
        first = context.state.candidates[0] if context.state.candidates else self.planner.find_first()
        context.report(f"training the first candidate, {first.name}")
        race = Race(context.state, context.trainer, self.planner.limits, self.planner.time.race, context.report)
        race.try_first([KeepBest(context, first.name, context.trainer.place(0, 0), announce=True)])

    def _run_race(self) -> Trial:
        """Run the race, or what remains of it, and return the winner's trial."""
        context, limits = self.context, self.planner.limits
        with ExitStack() as stack:
            shared = None
            if self.request.execution.shared and not context.state.race_ended:
                from convwright.designing.sharing import shared_rounds  # needs SQLAlchemy

                shared = stack.enter_context(shared_rounds(self.request, context.state, context.trainer))
            seconds = self.planner.time.race
            return Race(context.state, context.trainer, limits, seconds, context.report, shared).run()

    def _open_state(self) -> State:
        """Return the state of the design in the folder, or that of a new one.

        Raises:
            ArgumentError: The folder holds another design, or other files.
        """
        folder, request = self.request.out, self.request.to_dict()
        if not (folder / STATE).exists():
            return self._new_state()
        state = State.open(folder)
        results = request.keys() - {"execution", RECIPE}
        differing = [name for name in request if name in results and state.request.get(name) != request[name]]
        if not state.fingerprint or (differing and not state.candidates):  # nothing has been trained for it
            for name in (SPLIT, CLOCK):
                (folder / name).unlink(missing_ok=True)
            return self._new_state()
        if differing:
            raise ArgumentError(
                "out",
                f"{folder} holds a design that differs in {', '.join(IN_WORDS.get(each, each) for each in differing)}; "
                f"give another folder, or continue that design with `cw.design(resume={str(folder)!r})`",
            )
        if not state.finished and state.request.get(RECIPE, earlier_fields(FAST)) != request[RECIPE]:
            raise ArgumentError(
                "out",
                f"{folder} holds a design of another version of Convwright, in which the recipe "
                f"`{FAST}` has other settings; resume it with that version, or give another folder",
            )
        state.request = request
        return state

    def _new_state(self) -> State:
        state = State(self.request.out, self.request.to_dict())
        state.save()
        return state

    def _examine(self) -> None:
        """Open the data, check that it can be learnt from, and record what was found.

        Raises:
            ArgumentError: It cannot be learnt from, or has no test images.
            RunError: It has changed since the design began.
        """
        context, state = self.context, self.context.state
        with argument("data"):
            context.data, data = open_images(self.request, state, context.report)
        if data.multi_label:
            raise ArgumentError(
                "data", f"{data.name}: some images have several labels; a design needs one label for each image"
            )
        if data.test is None:
            raise ArgumentError(
                "data",
                f"{data.name} has no test images, on which a design measures its winner; add a folder or split `test`",
            )
        if state.fingerprint and state.fingerprint != data.fingerprint:
            raise images_changed(data.name)
        if not state.fingerprint:
            state.fingerprint = data.fingerprint
            state.decide(
                "data",
                f"candidates are compared on {len(data.val):,} validation images; the winner is tested on "
                f"{len(data.test):,} test images",
                f"the remaining {len(data.train):,} images in {len(data.classes)} classes are for training",
            )
            context.report(
                f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and {len(data.test):,} test "
                f"images in {len(data.classes)} classes"
            )

    def _survey(self) -> None:
        """Report and record the problems of the images."""
        context, state = self.context, self.context.state
        if not state.images:
            state.images = examine(context.data, context.dataset, self.request.seconds, context.report).to_dict()
            state.save()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvwrightError(f"{folder}: the folder could not be created: {error.strerror}") from None


@contextmanager
def _explain_stops(folder: Path) -> Iterator[None]:
    """Add to the error that ends a design how it continues, and where its best network so far is."""

    def advice() -> str:
        parts = [best_in_words(folder), f"continue with `cw.design(resume={str(folder)!r})`"]
        return "; ".join(part for part in parts if part)

    try:
        yield
    except KeyboardInterrupt as stopped:
        if not (folder / STATE).is_file():
            raise
        raise Interrupted(f"stopped; {advice()}", getattr(stopped, "number", signal.SIGINT)) from None
    except ConvwrightError as error:
        if type(error) not in (ConvwrightError, WriteError) or not (folder / STATE).is_file():
            raise
        raise ConvwrightError(f"{error}; {advice()}") from None

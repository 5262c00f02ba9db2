"""The winner of a race, trained for the time that remains."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from convwright.arch.resolution import format_resolution
from convwright.designing.candidates import Candidate, has_note, with_note
from convwright.designing.clock import FeaturesTooSlowError
from convwright.designing.context import DesignContext
from convwright.designing.distillation import find_teacher_over_budget, try_distillation
from convwright.designing.keep_best import KeepBest
from convwright.designing.planning import Planner
from convwright.designing.reserve import Reserve
from convwright.designing.result import ENLARGED
from convwright.designing.scaling_trials import ScalingTrials
from convwright.designing.speed import seconds_per_image
from convwright.designing.state import TRAINED_LONGER, BestSoFar
from convwright.designing.trials import Trial, problem_of_candidate, trained_epochs
from convwright.designing.winner_record import LongTraining, Winner
from convwright.display.wording import percent
from convwright.errors import RunError
from convwright.evaluation.evaluating import evaluate_run
from convwright.evaluation.result import Evaluation
from convwright.training.plan import FINE_TUNE
from convwright.training.run import Run

WINNER = "winner"
"""Run directory of the long training of the winner, in the folder of a design."""
PLANNED_SHARE = 1.04
"""Planned training time of the winner, as a factor of the remaining time. It is above 1 because the plan of a training
run keeps a margin that is usually not needed. A run that takes longer is stopped where the reserve begins; it then
lacks only last steps, at low learning rates."""
ENLARGING_SHARE = 0.6
"""Share of the winner's time for which its resolution is chosen: computing features cannot be cut short."""
ALL_LAYERS = "winner-all-layers"
"""Run directory of the training of all its layers, where its classifier alone was trained and time is left."""
CLASSIFIER_ALONE = "the winner with only its classifier trained is kept"
MIN_LEFT_SHARE, MIN_EPOCHS = 0.05, 0.5
"""All layers are trained if this share of the design's time is left, and time for this many epochs."""
MIN_SECONDS, MIN_SHARE = 10.0, 0.5
"""A winner is trained again if this many seconds are left, and this share of the seconds of its trial."""


@dataclass
class WinnerTraining:
    """Trains the winner of a race."""

    context: DesignContext
    planner: Planner
    reserve: Reserve

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.context.request.out / WINNER

    def run(self, best: Trial) -> None:
        """Train the winner of the race for the time that remains, and record whether that gave a better network.

        Args:
            best: The winner's trial.

        Raises:
            Interrupted: The design was stopped.
        """
        context, state = self.context, self.context.state
        self.reserve.measure()
        best = try_distillation(
            state,
            best,
            context.trainer,
            self._left(best),
            context.report,
            started=self.path.exists(),
            offered=lambda: find_teacher_over_budget(state, context.data, len(context.dataset.classes), best.seconds),
        )
        left = self._left(best)
        scalings = ScalingTrials(state, context.trainer, self.planner.limits, context.report)
        scalings.run(best, left, started=self.path.exists())
        kept = self._most_accurate(best)
        winner, accuracy = Winner(kept.candidate, kept.run), kept.accuracy
        left = self._left(best)
        if left > max(MIN_SECONDS, MIN_SHARE * best.seconds) or self.path.exists():
            winner = self._train_longer(best, kept, left) or winner
            accuracy = accuracy if winner.training is None else winner.training.accuracy
        elif kept.candidate != best.candidate:
            self._drop(best, kept, "too little time to train it longer")
        if (better := self._train_all_layers(winner, accuracy, best)) is not None:
            winner, accuracy = better
        state.winner = winner
        state.best = BestSoFar(winner.candidate, winner.run, accuracy)
        state.save()
        context.keep()

    def _left(self, best: Trial) -> float:
        """Return the seconds until training must end."""
        candidate = self.context.state.candidate(best.candidate)
        return self.reserve.limit_of(candidate)() - self.context.clock.passed

    def _most_accurate(self, best: Trial) -> Trial:
        """Return the most accurate trial within the budget: the winner's, or one of an earlier round."""
        state = self.context.state
        usable = [each for each in state.trials if each.problem is None]
        usable = [each for each in usable if not state.candidate(each.candidate).teacher_only]
        return max([best, *usable], key=lambda each: each.accuracy)

    def _drop(self, best: Trial, kept: Trial, reason: str) -> None:
        """Record that the winner of the race is dropped for the network of another candidate."""
        accuracy = f"validation accuracy of {percent(kept.accuracy)}"
        why = f"{reason}; {kept.candidate} had a {accuracy} in round {kept.round + 1}"
        self.context.state.decide("training", f"{best.candidate} is dropped", why)

    def _train_longer(self, best: Trial, kept: Trial, left: float) -> Winner | None:
        """Train the winner, and return it with its figures; None where a network of the race is better.

        Args:
            best: The winner's trial.
            kept: The most accurate trial, whose network the longer training must not fall behind.
            left: Seconds until training must end.
        """
        state, race_run = self.context.state, Run.open(self.context.request.out / best.run)
        candidate = self._enlarge(state.candidate(best.candidate), PLANNED_SHARE * left, race_run)
        try:
            candidate, run = self._train(candidate, best)
            measured = evaluate_run(run, "val")
        except Exception as error:
            if not (problem := problem_of_candidate(error)):
                raise
            measured, reason = None, f"longer training failed: {problem}"
        else:
            reason = f"longer training gave a lower validation accuracy than the {percent(kept.accuracy)} of the race"
        if not isinstance(measured, Evaluation) or measured.accuracy < kept.accuracy:
            state.decide("training", f"the network of the race is kept ({Path(kept.run).name})", reason)
            if kept.candidate != best.candidate:
                self._drop(best, kept, reason)
            return None
        epochs = trained_epochs(run)
        state.decide(
            "training",
            f"{TRAINED_LONGER} {epochs:.3g} epochs",
            f"its validation accuracy is {percent(measured.accuracy)} ({percent(best.accuracy)} in the race)",
        )
        return Winner(candidate.name, WINNER, _figures(run, measured))

    def _train(self, candidate: Candidate, best: Trial) -> tuple[Candidate, Run]:
        """Train a candidate, or without more pixels if their features would take too long; return which, and its run.

        Raises:
            NotFiniteError: Training diverged.
            FeaturesTooSlowError: Computing features would take too long.
        """
        try:
            return candidate, self._train_once(candidate, best)
        except FeaturesTooSlowError as error:
            candidate = self._drop_enlarged(candidate, error)
            return candidate, self._train_once(candidate, best)

    def _train_once(self, candidate: Candidate, best: Trial) -> Run:
        end = self.reserve.limit_of(candidate)
        self.context.data.dataset(candidate.network.resolution)  # images of another resolution are opened first
        left = end() - self.context.clock.passed
        self.context.report(f"training the winner, {candidate.name}, for {left:.0f} s")
        callbacks = [self.reserve.waiting, KeepBest(self.context, candidate.name, WINNER)]
        return self.context.trainer.train(candidate, self.path, PLANNED_SHARE * left, end, callbacks)

    def _train_all_layers(self, winner: Winner, accuracy: float, best: Trial) -> tuple[Winner, float] | None:
        """Train all layers of a winner whose classifier alone was trained, where there is time for that.

        Args:
            winner: The winner so far.
            accuracy: Its accuracy on the validation images.
            best: The trial that won the race.

        Returns:
            The winner with all layers trained, and its accuracy; None where there is no time, or it is no better.
        """
        context, path = self.context, self.context.request.out / ALL_LAYERS
        candidate = context.state.candidate(winner.candidate)
        end = self.reserve.limit_of(candidate)
        left, seconds = end() - context.clock.passed, context.clock.seconds
        if not path.exists() and left < MIN_LEFT_SHARE * seconds:
            return None
        if not Run.open(context.request.out / winner.run).config.recipe.freeze:
            return None
        if not path.exists():
            epoch = seconds_per_image(candidate.network) * len(context.dataset.train)
            if PLANNED_SHARE * left < MIN_EPOCHS * epoch:
                return None
        left = end() - context.clock.passed
        context.report(f"training all layers of the winner for {left:.0f} s")
        candidate = replace(
            candidate, fields={"weights": candidate.fields["weights"], "recipe": FINE_TUNE, "freeze": False}
        )
        try:
            callbacks = [self.reserve.waiting, KeepBest(context, candidate.name, ALL_LAYERS)]
            run = context.trainer.train(candidate, path, PLANNED_SHARE * left, end, callbacks)
            measured = evaluate_run(run, "val")
        except Exception as error:
            if not (problem := problem_of_candidate(error)):
                raise
            context.state.decide("training", CLASSIFIER_ALONE, f"training all layers failed: {problem}")
            return None
        assert isinstance(measured, Evaluation)
        after = f"{percent(measured.accuracy)} after training all layers"
        if measured.accuracy <= accuracy:
            context.state.decide("training", CLASSIFIER_ALONE, f"validation accuracy {percent(accuracy)}; {after}")
            return None
        reason = f"validation accuracy {after}; {percent(accuracy)} with only the classifier trained"
        context.state.decide("training", "the winner with all its layers trained is kept", reason)
        return Winner(candidate.name, ALL_LAYERS, _figures(run, measured)), measured.accuracy

    def _enlarge(self, candidate: Candidate, seconds: float, race_run: Run) -> Candidate:
        """Return the winner at the resolution of its training, and record it where that is not the race's.

        Args:
            candidate: The winner.
            seconds: Seconds of its training.
            race_run: Its run in the race.
        """
        state, name = self.context.state, with_note(candidate.name, ENLARGED)
        for known in state.candidates:
            if known.parent == candidate.name and has_note(known.name, ENLARGED):
                return known  # a stopped design continues with it
        if any(each.decision == f"{name} is dropped" for each in state.decisions):
            if self.path.exists() and not _has_resolution(self.path, candidate):
                shutil.rmtree(self.path)  # the design was stopped before that
            return candidate
        if self.path.exists():
            return candidate  # so does one whose training has started at the resolution of the race
        limits, frozen = self.planner.limits, race_run.config.recipe.freeze
        larger = self.context.trainer.enlarge(candidate, ENLARGING_SHARE * seconds, limits, frozen=frozen)
        if larger.network == candidate.network:
            return larger
        size, before = (format_resolution(each.network.resolution) for each in (larger, candidate))
        larger = replace(larger, name=name, idea="more pixels", parent=candidate.name)
        state.candidates.append(larger)
        state.decide(
            "training",
            f"the winner is trained at {size} px",
            f"the time and the budget allow it; the race compared networks at {before} px, where they train faster",
        )
        return larger

    def _drop_enlarged(self, candidate: Candidate, error: FeaturesTooSlowError) -> Candidate:
        """Return an enlarged winner at the resolution of the race, whose features are known.

        Raises:
            FeaturesTooSlowError: It is not enlarged.
        """
        if candidate.parent is None or not has_note(candidate.name, ENLARGED):
            raise error
        state = self.context.state
        state.candidates.remove(candidate)
        state.decide("training", f"{candidate.name} is dropped", str(error))
        shutil.rmtree(self.path, ignore_errors=True)
        self.context.report(f"{candidate.name} is dropped: {error}")
        return state.candidate(candidate.parent)


def _figures(run: Run, measured: Evaluation) -> LongTraining:
    """Return the figures of a finished training and its accuracy on the validation images."""
    summary = run.summary
    return LongTraining(
        measured.accuracy, measured.images, trained_epochs(run), summary.train_seconds, summary.stopped_early
    )


def _has_resolution(path: Path, candidate: Candidate) -> bool:
    """Return whether the run in a directory has the resolution of a candidate; False for a damaged run."""
    with suppress(RunError):
        return Run.open(path).config.resolution == candidate.network.resolution
    return False

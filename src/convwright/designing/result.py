"""The result of a design: the network, its file, its accuracy on untouched images, and every decision."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.arch.cost import cost
from convwright.arch.resolution import format_resolution
from convwright.designing.candidates import Candidate, has_note
from convwright.designing.distillation import DISTILLED, NO_GAIN, TEACHES
from convwright.designing.examination import ImageFacts
from convwright.designing.ideas import IdeaEffect, effects_of
from convwright.designing.network_warnings import network_warnings
from convwright.designing.race import NO_ROOM
from convwright.designing.record import describe_best
from convwright.designing.request import DesignRequest
from convwright.designing.scaling_trials import COMPARED, RULES
from convwright.designing.shipped_file import Shipped
from convwright.designing.state import DOSSIER, TRAINED_LONGER, Decision, State
from convwright.designing.trials import NO_TIME, OUT_OF_TIME, Trial
from convwright.designing.winner_record import ScoredImages
from convwright.display.result import Block, Heading, Lines, Paragraph, Result, Table
from convwright.display.wording import counted, duration, interval, percent
from convwright.evaluation.evaluating import evaluate_run
from convwright.evaluation.result import Evaluation
from convwright.printable import printable, quoted
from convwright.units import human

if TYPE_CHECKING:
    from convwright.training.run import Run

ENLARGED = "enlarged"
"""Note in the name of a winner that is trained at more pixels than in the race."""
SHORT_REASONS = {
    "significantly worse": "significantly worse",
    "statistically behind": "significantly worse",
    "statistically indistinguishable": "statistically indistinguishable",
    "ranked in the lower half": "ranked in the lower half",
    "only the better half": "ranked in the lower half",
    OUT_OF_TIME: "out of time",
    "the trials before it took the time": "out of time",
    "the next round has": "out of time",
    "it exceeds the budget": "exceeds the budget",
    "it could not be trained": "failed",
    "the winner could not be": "comparison failed",
    COMPARED: "trained for the scaling comparison",
    "it was trained to compare": "trained for the scaling comparison",
}
"""The reason of a candidate that is dropped in a few words, by the beginning of the whole reason.

Designs of earlier versions have other reasons, which must be shown too.
"""
NO_GAINS = (NO_GAIN, "as teacher brings no measurable gain")
"""Parts of the reason why a winner does not learn from a teacher, in this version and earlier ones."""
MOST_NOT_TRIED = 6
"""Most lines on candidates that were not tried, in the text of a design."""


@dataclass(frozen=True, eq=False)
class DesignResult(Result):
    """A finished design."""

    request: DesignRequest
    state: State = field(repr=False)
    run: "Run"
    """The winner's run."""
    tested: ScoredImages
    """How many test images, which no decision has seen, the run classifies correctly."""
    shipped: Shipped | None
    """The exported file; None where it could not be written, or the packages for that are missing."""
    seconds: float
    """Time of the whole design."""
    measured: Evaluation | None = field(default=None, repr=False)
    """Evaluation of the run on the test images; None for a finished design that was opened again, or whose export has
    calibrated the run since."""

    @cached_property
    def evaluation(self) -> Evaluation:
        """Evaluation of the run on the test images; of a finished design it is computed when it is first read."""
        evaluation = self.measured or evaluate_run(self.run, "test")
        assert isinstance(evaluation, Evaluation)  # a design has images with one label each
        return evaluation

    @property
    def file(self) -> Path | None:
        """The exported file."""
        return None if self.shipped is None else self.request.out / self.shipped.file

    @property
    def dossier(self) -> Path:
        """The page."""
        return self.request.out / DOSSIER

    @property
    def decisions(self) -> Sequence[Decision]:
        """Every decision with its reason, in order."""
        return self.state.decisions

    @property
    def images(self) -> ImageFacts:
        """Counts, sizes and problems of the images."""
        return ImageFacts.from_dict(self.state.images)

    @property
    def winner(self) -> Candidate:
        """The candidate that won the race."""
        return self.state.candidate(self.state.trained_winner.candidate)

    @property
    def _reported_score(self) -> ScoredImages:
        """The accuracy on the test images that is reported: of the exported file in 8 bits, else of the run."""
        return (self.shipped and self.shipped.tested) or self.tested

    @property
    def accuracy(self) -> float:
        """Share of the test images that the exported file, or the run, classifies correctly, 0 to 1."""
        return self._reported_score.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return self._reported_score.interval

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Limits of the budget that the result exceeds; none if it is within the budget."""
        return () if self.shipped is None else self.shipped.exceeded

    @property
    def failure(self) -> str:
        """Why the design failed; empty if it has a file that is within the budget."""
        if self.shipped is None:
            return self.state.trained_winner.file_problem
        if self.exceeded:
            amounts = ", ".join(map(self.shipped.amount, self.exceeded))
            return (
                f"the exported file needs {amounts}, more than the budget allows ({self.request.budget}); start a new "
                "design with a stricter limit, which leaves a margin, or on an idle machine"
            )
        if self.shipped.unmeasured:
            return (
                f"the budget limits latency, but it could not be measured in {self.shipped.engine}: "
                f"{self.shipped.unmeasured}; start a new design with another `engine`"
            )
        return ""

    @cached_property
    def warnings(self) -> list[str]:
        """A sentence on each reason to doubt the network: it may be no better than chance, or barely trained."""
        counts, run = self.images.counts, self.run
        return network_warnings(
            self._reported_score,
            counts["test"],
            run.metrics,
            run.summary.train_seconds,
            sum(counts.get("val", ())),
            self.request.seconds,
        )

    @property
    def effects(self) -> list[IdeaEffect]:
        """What the papers' ideas and other variations changed, with intervals."""
        return effects_of(self.state)

    def trials(self) -> list[tuple[Candidate, Trial]]:
        """Return every candidate with its last trial, the most accurate of the last rounds first."""
        last: dict[str, Trial] = {}
        run = self.state.trained_winner.run
        kept = [each for each in self.state.trials if each.run == run]  # not one that checked it
        for trial in [*self.state.trials, *kept, *self._final_trial()]:
            last[trial.candidate] = trial
        ordered = sorted(last.values(), key=lambda each: (-each.round, -each.accuracy))
        return [(self.state.candidate(each.candidate), each) for each in ordered]

    def _final_trial(self) -> list[Trial]:
        """Return the winner's long training as a trial after the last round; none where a run of the race is kept."""
        winner = self.state.trained_winner
        if winner.training is None:
            return []
        round_, seed, figures = len(self.state.rounds), self.request.seed, asdict(winner.training)
        return [Trial(winner.candidate, round_, seed, winner.run, correct="", **figures)]

    def round_name(self, trial: Trial) -> str:
        """Return the number of a trial's round as text.

        `final training` is the winner's long training, `extra` a trial after the race: of a teacher, of the winner with
        one, or of the scaling comparison.
        """
        if trial.round < len(self.state.rounds):
            return str(trial.round + 1)
        return "final training" if trial.run == self.state.trained_winner.run else "extra"

    def why_lost(self, name: str) -> str:
        """Return why a candidate is not the winner; empty for the winner.

        Args:
            name: Name of the candidate.
        """
        winner = self.winner
        if name == winner.name:
            return ""
        decided = {each.decision: each.reason for each in self.decisions}
        if lost := decided.get(f"{name} is dropped"):
            return lost
        if name == winner.parent and has_note(winner.name, DISTILLED):
            taught = next((reason for decision, reason in decided.items() if decision.endswith(TEACHES)), "")
            return f"replaced by {winner.name}: {taught.removeprefix('that helps: ')}"
        if name == winner.parent and has_note(winner.name, ENLARGED):
            trained = next((reason for decision, reason in decided.items() if decision.startswith(TRAINED_LONGER)), "")
            return f"replaced by {winner.name}: {trained}"
        if self.state.candidate(name).idea in RULES:
            return COMPARED
        return f"statistically indistinguishable from {winner.name}, which had a higher validation accuracy"

    def not_tried(self) -> list[str]:
        """Return a line on each candidate that did not take part, and one on all for which there was no time."""
        left_out = self.state.left_out
        late = [each.name for each in left_out if each.reason in (NO_ROOM, NO_TIME)]
        lines = [f"{each.name}: {each.reason}" for each in left_out if each.name not in late]
        return [*lines, *([f"for lack of time: {', '.join(late)}"] if late else [])]

    def to_dict(self) -> dict[str, object]:
        """Return the request, the winner with its figures, every candidate, and every decision."""
        count = cost(self.run.network)
        return {
            "finished": True,
            "request": self.request.to_dict(),
            "seconds": round(self.seconds, 1),
            "network": self.run.network.name,
            "candidate": self.winner.name,
            "resolution": self.run.network.resolution,
            "params": count.params,
            "macs": count.macs,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "run_accuracy": self.tested.accuracy,
            "split": "test",
            "images": self.tested.images,
            "best": describe_best(self.state),
            "run": str(self.run.path),
            "file": None if self.file is None else str(self.file),
            "dossier": str(self.dossier),
            "failure": self.failure or None,
            "warnings": self.warnings,
            "shipped": None if self.shipped is None else self.shipped.to_dict(),
            "candidates": [
                {
                    "name": candidate.name,
                    "idea": candidate.idea,
                    "network": candidate.network.name,
                    "params": cost(candidate.network).params,
                    "macs": cost(candidate.network).macs,
                    "round": trial.round + 1,
                    "val_accuracy": trial.accuracy,
                    "seconds": round(trial.seconds, 1),
                    "epochs": trial.epochs,
                    "stopped": trial.stopped,
                    "lost": trial.problem or self.why_lost(candidate.name),
                }
                for candidate, trial in self.trials()
            ],
            "data": self.images.to_dict(),
            "ideas": [each.to_dict() for each in self.effects],
            "left_out": [vars(each) for each in self.state.left_out],
            "decisions": [each.to_dict() for each in self.decisions],
        }

    def table(self) -> Table:
        """Return a table of the candidates, those of the last round first."""
        titles = ("candidate", "resolution (px)", "parameters", "MACs", "round", "validation accuracy", "outcome")
        winner = self.winner.name
        return Table(
            titles,
            [
                (
                    candidate.name,
                    format_resolution(candidate.network.resolution),
                    human(cost(candidate.network).params),
                    human(cost(candidate.network).macs),
                    self.round_name(trial),
                    percent(trial.accuracy) if trial.problem is None else "-",
                    "winner" if candidate.name == winner else self.short_reason(candidate, trial),
                )
                for candidate, trial in self.trials()
            ],
        )

    def short_reason(self, candidate: Candidate, trial: Trial) -> str:
        """Return in a few words why a candidate is not the winner.

        Args:
            candidate: The candidate.
            trial: Its last trial.
        """
        if trial.problem:
            return "failed"
        winner = self.winner
        if winner.parent == candidate.name and has_note(winner.name, DISTILLED):
            return "replaced by its distilled version"
        if winner.parent == candidate.name and has_note(winner.name, ENLARGED):
            return "replaced by a higher resolution"
        return _shorten(self.why_lost(candidate.name))

    def blocks(self) -> Iterable[Block]:
        """Yield the answer, the candidates, and the places of run, file and page."""
        count = cost(self.run.network)
        yield Lines(
            f"{self.winner.name} at {format_resolution(self.run.network.resolution)} px: {percent(self.accuracy)} "
            f"({interval(self.interval)}) of {counted(self.tested.images, 'test image')} correct; "
            f"{human(count.params)} parameters, {human(count.macs)} MACs"
        )
        for warning in self.warnings:
            yield Paragraph(f"warning: {warning}")
        yield self.table()
        for line in self.not_tried()[-MOST_NOT_TRIED:]:
            yield Paragraph(f"not tried, {line}" if line.startswith("for lack") else f"not tried: {line}")
        yield Heading("Files")
        places = [("run", self.run.path), ("file", self.file), ("dossier", self.dossier)]
        yield Lines("\n".join(f"{name}: {printable(path)}" for name, path in places if path is not None))
        if self.shipped is not None:
            yield Lines(f"latency: {self.shipped.latency_text}")
        elif (reason := self.state.trained_winner.no_file) and reason not in self.failure:
            yield Paragraph(f"no file was exported: {reason}")
        use = self.file or self.run.path
        yield Lines(f"use it: convwright predict {quoted(use)} IMAGE")
        yield Lines(f"took {duration(self.seconds)}; {duration(self.request.seconds)} were requested")
        if self.failure:
            yield Paragraph(self.failure)


def _shorten(reason: str) -> str:
    """Return why a candidate is dropped in a few words."""
    if any(part in reason for part in NO_GAINS):
        return "no gain from distillation"
    return next((short for start, short in SHORT_REASONS.items() if reason.startswith(start)), "dropped")

"""What a design has done so far, kept in its folder so that a stopped design continues."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from convwright import json_text
from convwright.designing.candidates import Candidate, LeftOut
from convwright.designing.time_plan import DOSSIER_FACTOR
from convwright.designing.trials import Trial
from convwright.designing.winner_record import Winner
from convwright.errors import ConvwrightError, RunError
from convwright.files import write_text

STATE, CLOCK, DECISIONS, DOSSIER = "state.json", "clock.json", "design.json", "dossier.html"
"""Files of a design's folder: its progress, its time, every decision with its reason, and the page."""
FEATURES = "features"
"""Folder of a design with the features of frozen backbones, until its winner is trained."""
SCHEMA_VERSION = 1
CANDIDATES = "candidates"
"""Step of the decision which networks take part."""
WINS = " wins"
"""End of the decision that ends a race."""
TRAINED_LONGER = "the winner is trained for"
"""Beginning of the decision that the longer training of the winner counts."""


@dataclass(frozen=True)
class Decision:
    """Something that a design decided, and why."""

    step: str
    """Part of the design: data, candidates, race, training, file or ideas."""
    decision: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Return the fields."""
        return dict(vars(self))


@dataclass(frozen=True)
class BestSoFar:
    """The network with the highest validation accuracy that a design has trained so far."""

    candidate: str
    run: str
    """Run directory, below the folder of the design."""
    accuracy: float
    """Accuracy on the validation images, 0 to 1."""


@dataclass(frozen=True)
class TestScore:
    """Which of a design's test images the network of a trial classifies correctly."""

    __test__ = False  # no test of pytest

    run: str
    """Run directory of the trial, below the folder of the design."""
    correct: str = field(repr=False)
    """Whether each image is right: a bit each, as hexadecimal digits."""
    images: int
    """Number of test images: all, or as many as there was time for, the same ones for each network."""


@dataclass(frozen=True)
class EndMeasurements:
    """What a design has measured for the time of its end, before its winner is trained."""

    export_seconds: float
    """Seconds in which a file of the race's best network was written and verified."""
    waiting: float
    """Factor between these seconds and those that the processor computed."""
    fixed_seconds: float | None = None
    """Part of the export's seconds that does not depend on the speed of predictions; None: all of it."""

    @property
    def dossier_seconds(self) -> float:
        """Seconds of the dossier beside its predictions of the test images."""
        return DOSSIER_FACTOR * (self.export_seconds if self.fixed_seconds is None else self.fixed_seconds)


@dataclass
class State:
    """Progress of a design. Every change is written before work goes on."""

    folder: Path
    request: dict[str, Any]
    """The request as `DesignRequest.to_dict` gives it."""
    fingerprint: str = ""
    """Fingerprint of the data; a design whose data has changed is refused."""
    candidates: list[Candidate] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    rounds: list[list[str]] = field(default_factory=list)
    """Names of the candidates of each round that has been planned."""
    decisions: list[Decision] = field(default_factory=list)
    race_began: float | None = None
    """Passed seconds of the design when the race began; None before it."""
    winner: Winner | None = None
    """The winner, once it is trained."""
    shipped: dict[str, Any] = field(default_factory=dict)
    """The exported file and its figures, once it is verified."""
    images: dict[str, Any] = field(default_factory=dict)
    """What was found out about the images: as `ImageFacts.to_dict` returns it."""
    key: str = field(default_factory=lambda: uuid4().hex)
    """Identifies the design in a database that it shares with others."""
    speeds: dict[str, float] = field(default_factory=dict)
    """Seconds of a training step for each image and multiply-add, by name of a family's base network."""
    plans: list[dict[str, float]] = field(default_factory=list)
    """Seconds of a trial, and passed seconds of the design at its end, of each round that workers share."""
    best: BestSoFar | None = None
    """The best network so far, at the end the winner; None before the first trial has ended."""
    test_scores: list[TestScore] = field(default_factory=list)
    """Test images that the networks of the race classify correctly; measured when the file has been exported."""
    end_measured: EndMeasurements | None = None
    """What was measured for the time of the end; None before that, and where no files are exported."""
    finished: bool = False
    """Whether all files of the design have been written."""

    def decide(self, step: str, decision: str, reason: str) -> None:
        """Record a decision, once: a resumed design does not add it again. The state is always saved."""
        made = Decision(step, decision, reason)
        if made not in self.decisions:
            self.decisions.append(made)
        self.save()

    def add_trial(self, trial: Trial) -> None:
        """Record a trial that has ended, and its network as the best so far if it is."""
        self.trials.append(trial)
        self.offer(trial)
        self.save()

    def offer(self, trial: Trial) -> None:
        """Make the network of a trial the best so far if none has a higher accuracy and it is within the budget."""
        if trial.problem is None and not self.candidate(trial.candidate).teacher_only:
            self.offer_run(BestSoFar(trial.candidate, trial.run, trial.accuracy))

    def offer_run(self, run: BestSoFar) -> None:
        """Make a run the best so far if none has a higher accuracy."""
        if self.best is None or run.accuracy >= self.best.accuracy:
            self.best = run
            self.save()

    @property
    def trained_winner(self) -> Winner:
        """The winner of a design whose winner is trained."""
        assert self.winner is not None, "the winner is not trained yet"
        return self.winner

    @property
    def candidates_found(self) -> bool:
        """Whether all candidates of the first round are known; one may be trained before the others are."""
        return any(each.step == CANDIDATES for each in self.decisions)

    @property
    def race_ended(self) -> bool:
        """Whether the race has a winner."""
        return any(each.step == "race" and each.decision.endswith(WINS) for each in self.decisions)

    def candidate(self, name: str) -> Candidate:
        """Return the candidate of a name."""
        return next(each for each in self.candidates if each.name == name)

    def trial(self, name: str, round_: int) -> Trial | None:
        """Return the trial of a candidate in a round; None before it has ended."""
        return next((each for each in self.trials if each.candidate == name and each.round == round_), None)

    def trials_of(self, round_: int) -> list[Trial]:
        """Return the trials of a round, the most accurate first."""
        return sorted((each for each in self.trials if each.round == round_), key=lambda each: -each.accuracy)

    def test_score(self, run: str) -> TestScore | None:
        """Return which test images the network of a run classifies correctly; None where that was not measured."""
        return next((each for each in self.test_scores if each.run == run), None)

    def save(self) -> None:
        """Write the state, completely or not at all."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "request": self.request,
            "fingerprint": self.fingerprint,
            "candidates": [each.to_dict() for each in self.candidates],
            "left_out": [vars(each) for each in self.left_out],
            "trials": [each.to_dict() for each in self.trials],
            "rounds": self.rounds,
            "decisions": [each.to_dict() for each in self.decisions],
            "race_began": self.race_began,
            "winner": {} if self.winner is None else self.winner.to_dict(),
            "shipped": self.shipped,
            "images": self.images,
            "speeds": self.speeds,
            "plans": self.plans,
            "key": self.key,
            "best": None if self.best is None else vars(self.best),
            "test_scores": [vars(each) for each in self.test_scores],
            "end_measured": None if self.end_measured is None else vars(self.end_measured),
            "finished": self.finished,
        }
        write_text(self.folder / STATE, json_text.dump(content, indent=1) + "\n")

    @classmethod
    def open(cls, folder: Path) -> "State":
        """Read the state of a design.

        Raises:
            RunError: The folder holds no design, or its file is damaged or of a later version.
        """
        path = folder / STATE
        if not path.is_file():
            raise RunError(f"{folder}: holds no design; give the folder that `design` wrote")
        try:
            content: Any = json_text.read(path)
            if content["schema_version"] != SCHEMA_VERSION:
                raise RunError(f"{path}: was written by another version; start a new design in another folder")
            state = cls(
                folder,
                content["request"],
                content["fingerprint"],
                [Candidate.from_dict(each) for each in content["candidates"]],
                [LeftOut(**each) for each in content["left_out"]],
                [Trial(**each) for each in content["trials"]],
                [[str(name) for name in names] for names in content["rounds"]],
                [Decision(**each) for each in content["decisions"]],
                race_began=content["race_began"],
                winner=Winner.from_dict(winner) if (winner := _mapping(content["winner"])) else None,
                shipped=dict(_mapping(content["shipped"])),
            )
            state.images = dict(_mapping(content["images"]))
            state.speeds = {str(name): float(each) for name, each in _mapping(content["speeds"]).items()}
            state.plans, state.key = [dict(_mapping(each)) for each in content["plans"]], str(content["key"])
            state.best = BestSoFar(**content["best"]) if content.get("best") else None
            state.test_scores = [TestScore(**each) for each in content.get("test_scores", [])]
            state.end_measured = EndMeasurements(**content["end_measured"]) if content.get("end_measured") else None
            state.finished = content.get("finished") is True
            return state
        except RunError:
            raise
        except (ConvwrightError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise RunError(f"{path}: damaged file ({error}); start a new design in another folder") from None


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.40} is no object")
    return value

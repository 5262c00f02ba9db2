"""Which of the papers' ideas, and which variations, helped in a design: comparisons of trials of one round."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from statistics import NormalDist

from convwright.arch.cost import cost
from convwright.designing.candidates import Candidate, has_note
from convwright.designing.distillation import DISTILLED, LEARNS_FROM
from convwright.designing.scaling_trials import COMPOUND, NOT_COMPARED, ONE_DIMENSION
from convwright.designing.state import State, TestScore
from convwright.designing.trials import Trial
from convwright.display.wording import counted, interval, points, points_between
from convwright.stats.paired import PairedCounts, agresti_min
from convwright.units import human

LEVEL = 0.95
"""Level of the intervals of all comparisons together."""
DENSE, SE, SCALING, TRAINING = "dense connections", "SE", "compound scaling", "training"
SPENDING = "how the budget is spent"
"""Idea of variations that spend the budget more on depth, width or pixels; no paper's, as none of them is balanced."""
PAPERS = {DENSE: "DenseNet", SE: "SENet", SCALING: "EfficientNet"}
FAMILY_PAIRS = (
    (DENSE, "DenseNet-BC", "ResNet"),
    (SE, "SE-ResNet", "ResNet"),
    (SE, "SE-DenseNet-BC", "DenseNet-BC"),
    (SE, "SE-MobileNetV2", "MobileNetV2"),
)
"""Ideas that two families differ by, the one with the idea first; both are the largest of theirs in the budget."""
DIMENSIONS = ("more depth, less width", "more width, less depth")
"""Variations that spend the budget more on depth or width."""
PIXELS = ("fewer pixels", "more pixels")
CHANGES = {"SE added": "SE", DIMENSIONS[0]: "More depth and less width", DIMENSIONS[1]: "More width and less depth"}
"""What variations change, by their idea."""


@dataclass(frozen=True)
class IdeaEffect:
    """What an idea, or another way to spend the budget, changes on the same images."""

    idea: str
    """One of the papers' ideas, how the budget is spent, or training."""
    change: str
    """What the first candidate has and the second has not, as the subject of a sentence."""
    with_it: str
    without: str
    """Names of the two candidates."""
    pair: PairedCounts
    macs: tuple[int, int] = (0, 0)
    """Multiply-adds of the two candidates."""
    seconds: tuple[float, float] = (0.0, 0.0)
    """Seconds of their trials."""
    split: str = "validation"
    """Images that the two are compared on: test images, or validation images where there was no time for these."""
    comparisons: int = 1
    """Number of all comparisons, for which the intervals are simultaneous (Bonferroni)."""

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the difference of accuracies, -1 to 1."""
        z = NormalDist().inv_cdf(1 - (1 - LEVEL) / 2 / self.comparisons)
        return agresti_min(self.pair.only_first, self.pair.only_second, self.pair.images, z)

    @property
    def verdict(self) -> str:
        """`helps`, `hurts`, or `undecided` where the interval contains 0."""
        low, high = self.interval
        return "helps" if low > 0 else "hurts" if high < 0 else "undecided"

    @property
    def sentence(self) -> str:
        """The effect as a sentence."""
        first, second = (
            f"{name} ({human(macs)} MACs, {seconds:.0f} s)"
            for name, macs, seconds in zip((self.with_it, self.without), self.macs, self.seconds, strict=True)
        )
        where = f"on {counted(self.pair.images, f'{self.split} image')}: {first} compared with {second}"
        return f"{self.change}{self._verdict_in_words} {where}"

    @property
    def _verdict_in_words(self) -> str:
        """The verdict with the difference and its interval; a decrease is given without a sign."""
        difference, (low, high) = self.pair.difference, self.interval
        if self.verdict == "undecided":
            amount = f"{points(difference)} percentage points, 95 % interval {points_between((low, high))}"
            return f": the accuracies are statistically indistinguishable ({amount})"
        verb, bounds = ("raised", (low, high)) if self.verdict == "helps" else ("lowered", (-high, -low))
        amount = f"{100 * abs(difference):.1f} percentage points"
        return f" {verb} the accuracy significantly, by {amount} (95 % interval {interval(bounds)})"

    def to_dict(self) -> dict[str, object]:
        """Return idea, candidates with their costs, difference, interval and verdict."""
        return {
            "idea": self.idea,
            "paper": PAPERS.get(self.idea),
            "change": self.change,
            "with": self.with_it,
            "without": self.without,
            "macs": list(self.macs),
            "seconds": list(self.seconds),
            "difference": self.pair.difference,
            "interval": list(self.interval),
            "images": self.pair.images,
            "split": self.split,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class _Pair:
    """Two trials that differ in an idea, or in another way to spend the budget."""

    idea: str
    change: str
    with_it: Trial
    without: Trial


def effects_of(state: State) -> list[IdeaEffect]:
    """Return all comparisons that the trials of a design allow, each in the last round of both candidates."""
    pairs = _pairs_of(state)
    return [replace(_effect(state, each), comparisons=len(pairs)) for each in pairs]


def compared_trials(state: State) -> list[Trial]:
    """Return the trials that the comparisons of a design are about, each once."""
    trials = {trial.run: trial for pair in _pairs_of(state) for trial in (pair.with_it, pair.without)}
    return list(trials.values())


def not_compared(state: State) -> list[str]:
    """Return the papers' ideas that no comparison of a design is about."""
    compared = {each.idea for each in _pairs_of(state)}
    return [idea for idea in PAPERS if idea not in compared]


def why_not_compared(state: State, idea: str) -> str:
    """Return why no comparison of a design is about an idea.

    Args:
        state: The design.
        idea: One of the papers' ideas.
    """
    if idea == SCALING:
        reasons = [each.reason for each in state.decisions if each.decision == NOT_COMPARED]
        tried = any(each.idea == COMPOUND for each in state.candidates)
        return next(reversed(reasons), "one of its trials failed" if tried else "no networks were trained for it")
    return f"no round trained a network both with and without {idea} for long enough"


def _pairs_of(state: State) -> list[_Pair]:
    return [*_of_families(state), *_of_variations(state), *_of_scalings(state)]


def _of_families(state: State) -> Iterator[_Pair]:
    names = {each.name for each in state.candidates}
    for idea, with_it, without in FAMILY_PAIRS:
        if {with_it, without} <= names and (trials := _last_common_trials(state, with_it, without)):
            change = "Dense connections" if idea is DENSE else "SE"
            yield _Pair(idea, change, *trials)


def _of_variations(state: State) -> Iterator[_Pair]:
    for candidate in state.candidates:
        if candidate.parent is None or (trials := _last_common_trials(state, candidate.name, candidate.parent)) is None:
            continue
        if candidate.idea == "SE removed":
            yield _Pair(SE, "SE", *reversed(trials))
        else:
            parent = state.candidate(candidate.parent)
            yield _Pair(_idea_of(candidate), _change_of(candidate, parent), *trials)


def _of_scalings(state: State) -> Iterator[_Pair]:
    compound = [each for each in state.candidates if each.idea == COMPOUND]
    others = [each for each in state.candidates if each.idea in ONE_DIMENSION]
    for one, other in product(compound, others):
        if trials := _last_common_trials(state, one.name, other.name):
            yield _Pair(
                SCALING, f"Compound scaling instead of {other.idea.removesuffix(' alone')}-only scaling", *trials
            )


def _idea_of(candidate: Candidate) -> str:
    if candidate.idea == "SE added":
        return SE
    return SPENDING if candidate.idea in (*DIMENSIONS, *PIXELS) else TRAINING


def _change_of(candidate: Candidate, parent: Candidate) -> str:
    """Return what a variation changes; a lower resolution leaves MACs for depth and width, a higher one needs more."""
    if candidate.idea in CHANGES:
        return CHANGES[candidate.idea]
    if candidate.idea.startswith(LEARNS_FROM):
        return f"Distillation from {candidate.idea.removeprefix(LEARNS_FROM)}"
    if candidate.idea not in PIXELS:
        return f"{candidate.idea[:1].upper()}{candidate.idea[1:]}"
    lower = candidate.idea == PIXELS[0]
    change = f"A {'lower' if lower else 'higher'} resolution"
    if candidate.network.stages == parent.network.stages:
        return f"{change} of the same network"
    return f"{change} with {'more' if lower else 'less'} depth and width"


def _last_common_trials(state: State, first: str, second: str) -> tuple[Trial, Trial] | None:
    """Return the trials of two candidates in the last round in which both had time to learn; None if there is none.

    A student is compared with the trial of its parent beside it, or with that of the round before, which it repeats.
    """
    for round_ in reversed(range(len(state.rounds) + 1)):
        one, other = state.trial(first, round_), state.trial(second, round_)
        if other is None and has_note(first, DISTILLED):
            other = state.trial(second, round_ - 1)
        if one is None or other is None or one.problem is not None or other.problem is not None:
            continue
        if not one.too_short and not other.too_short:
            return one, other
    return None


def _effect(state: State, pair: _Pair) -> IdeaEffect:
    """Return what an idea changes: on test images where both networks predicted the same ones, else on validation."""
    trials = pair.with_it, pair.without
    one, other = (cost(state.candidate(each.candidate).network).macs for each in trials)
    first, second = (state.test_score(each.run) for each in trials)
    split = "validation"
    if first is not None and second is not None and first.images == second.images:
        split = "test"
        trials = _on_test(trials[0], first), _on_test(trials[1], second)
    counts = trials[0].against(trials[1])
    names, seconds = (trials[0].candidate, trials[1].candidate), (trials[0].seconds, trials[1].seconds)
    return IdeaEffect(pair.idea, pair.change, *names, counts, (one, other), seconds, split)


def _on_test(trial: Trial, score: TestScore) -> Trial:
    """Return a trial that has the test images which its network classifies correctly, in place of validation images."""
    return replace(trial, correct=score.correct, images=score.images)

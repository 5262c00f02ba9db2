"""Which of the papers' ideas, and which variations, helped in a design: comparisons of trials of one round."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

from convwright.arch.cost import cost
from convwright.designing.candidates import Candidate
from convwright.designing.distillation import SUFFIX
from convwright.designing.state import State
from convwright.designing.trials import Trial
from convwright.display.wording import counted
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


@dataclass(frozen=True)
class IdeaEffect:
    """What an idea, or another way to spend the budget, changes on the validation images."""

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
    comparisons: int = 1
    """Number of all comparisons, for which the intervals hold together (Bonferroni)."""

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
        low, high = (100 * bound for bound in self.interval)
        verdicts = {"helps": "helped", "hurts": "hurt", "undecided": "made no difference that these images can show"}
        first, second = (
            f"{name} ({human(macs)} multiply-adds, {seconds:.0f} s)"
            for name, macs, seconds in zip((self.with_it, self.without), self.macs, self.seconds, strict=True)
        )
        return (
            f"{self.change} {verdicts[self.verdict]}: {100 * self.pair.difference:+.1f} percentage points "
            f"({low:+.1f} to {high:+.1f}) on {counted(self.pair.images, 'validation image')}, {first} against {second}"
        )

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
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def effects_of(state: State) -> list[IdeaEffect]:
    """Return all comparisons that the trials of a design allow, each in the last round of both candidates."""
    effects = [*_of_families(state), *_of_variations(state)]
    return [replace(each, comparisons=len(effects)) for each in effects]


def not_compared(state: State) -> list[str]:
    """Return the papers' ideas that no comparison of a design is about."""
    compared = {each.idea for each in effects_of(state)}
    return [idea for idea in PAPERS if idea not in compared]


def _of_families(state: State) -> Iterator[IdeaEffect]:
    names = {each.name for each in state.candidates}
    for idea, with_it, without in FAMILY_PAIRS:
        if {with_it, without} <= names and (trials := _last_common_trials(state, with_it, without)):
            change = "dense connections" if idea is DENSE else "SE"
            yield _effect(state, idea, change, *trials)


def _of_variations(state: State) -> Iterator[IdeaEffect]:
    for candidate in state.candidates:
        if candidate.parent is None or (trials := _last_common_trials(state, candidate.name, candidate.parent)) is None:
            continue
        if candidate.idea == "SE removed":
            yield _effect(state, SE, "SE", *reversed(trials))
        else:
            parent = state.candidate(candidate.parent)
            yield _effect(state, _idea_of(candidate), _change_of(candidate, parent), *trials)


def _idea_of(candidate: Candidate) -> str:
    if candidate.idea == "SE added":
        return SE
    return SPENDING if candidate.idea in (*DIMENSIONS, *PIXELS) else TRAINING


def _change_of(candidate: Candidate, parent: Candidate) -> str:
    """Return what a variation changes; fewer pixels leave multiply-adds for depth and width, more take them away."""
    if candidate.idea not in PIXELS:
        return candidate.idea
    if candidate.network.stages == parent.network.stages:
        return f"{candidate.idea} of the same network"
    return f"{candidate.idea}, {'more' if candidate.idea == PIXELS[0] else 'less'} depth and width"


def _last_common_trials(state: State, first: str, second: str) -> tuple[Trial, Trial] | None:
    """Return the trials of two candidates in the last round that both ended; None where there is none.

    A student is compared with the trial of its parent beside it, or with that of the round before, which it repeats.
    """
    for round_ in reversed(range(len(state.rounds) + 1)):
        one, other = state.trial(first, round_), state.trial(second, round_)
        if other is None and first.endswith(SUFFIX):
            other = state.trial(second, round_ - 1)
        if one is not None and other is not None and one.problem is None and other.problem is None:
            return one, other
    return None


def _effect(state: State, idea: str, change: str, first: Trial, second: Trial) -> IdeaEffect:
    one, other = (cost(state.candidate(each.candidate).network).macs for each in (first, second))
    names, seconds = (first.candidate, second.candidate), (first.seconds, second.seconds)
    return IdeaEffect(idea, change, *names, first.against(second), (one, other), seconds)

"""Which of the papers' ideas, and which variations, helped in a design: comparisons of trials of one round."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

from convwright.designing.candidates import Candidate
from convwright.designing.distillation import SUFFIX
from convwright.designing.state import State
from convwright.designing.trials import Trial
from convwright.display.wording import counted
from convwright.stats.paired import PairedCounts, agresti_min

LEVEL = 0.95
"""Level of the intervals of all comparisons together."""
DENSE, SE, SCALING, TRAINING = "dense connections", "SE", "compound scaling", "training"
PAPERS = {DENSE: "DenseNet", SE: "SENet", SCALING: "EfficientNet"}
FAMILIES = (
    (DENSE, "DenseNet-BC", "ResNet"),
    (SE, "SE-ResNet", "ResNet"),
    (SE, "SE-DenseNet-BC", "DenseNet-BC"),
    (SE, "SE-MobileNetV2", "MobileNetV2"),
)
"""Ideas that two families differ by, the one with the idea first; both are the largest of theirs in the budget."""
SINGLE = ("more depth, less width", "more width, less depth", "fewer pixels", "more pixels")
"""Variations that spend the budget on one dimension where compound scaling balances all."""


@dataclass(frozen=True)
class IdeaEffect:
    """What an idea, or another way to spend the budget, changes on the validation images."""

    idea: str
    """One of the papers' ideas, or training."""
    change: str
    """What the first candidate has and the second has not, as the subject of a sentence."""
    with_it: str
    without: str
    """Names of the two candidates."""
    pair: PairedCounts
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
        found = {"helps": "helped", "hurts": "hurt", "undecided": "made no difference that these images can show"}
        return (
            f"{self.change} {found[self.verdict]}: {100 * self.pair.difference:+.1f} percentage points "
            f"({low:+.1f} to {high:+.1f}) on {counted(self.pair.images, 'validation image')}, {self.with_it} against "
            f"{self.without}"
        )

    def to_dict(self) -> dict[str, object]:
        """Return idea, candidates, difference, interval and verdict."""
        return {
            "idea": self.idea,
            "paper": PAPERS.get(self.idea),
            "change": self.change,
            "with": self.with_it,
            "without": self.without,
            "difference": self.pair.difference,
            "interval": list(self.interval),
            "images": self.pair.images,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def effects_of(state: State) -> list[IdeaEffect]:
    """Return all comparisons that the trials of a design allow, each in the last round of both candidates."""
    found = [*_of_families(state), *_of_variations(state)]
    return [IdeaEffect(each.idea, each.change, each.with_it, each.without, each.pair, len(found)) for each in found]


def not_compared(state: State) -> list[str]:
    """Return the papers' ideas that no comparison of a design is about."""
    compared = {each.idea for each in effects_of(state)}
    return [idea for idea in PAPERS if idea not in compared]


def _of_families(state: State) -> Iterator[IdeaEffect]:
    for idea, with_it, without in FAMILIES:
        for round_ in reversed(range(len(state.rounds))):
            first, second = state.trial(with_it, round_), state.trial(without, round_)
            if pair := _pair(first, second):
                change = "dense connections" if idea is DENSE else "SE"
                yield IdeaEffect(idea, change, with_it, without, pair)
                break


def _of_variations(state: State) -> Iterator[IdeaEffect]:
    for trial in state.trials:
        candidate = state.candidate(trial.candidate)
        if candidate.parent is None:
            continue
        check = trial.round - 1 if candidate.name.endswith(SUFFIX) else trial.round  # it repeats the last round
        parent = state.trial(candidate.parent, check)
        if candidate.idea == "SE removed":
            if pair := _pair(parent, trial):
                yield IdeaEffect(SE, "SE", candidate.parent, candidate.name, pair)
        elif pair := _pair(trial, parent):
            yield IdeaEffect(_idea_of(candidate), candidate.idea, candidate.name, candidate.parent, pair)


def _idea_of(candidate: Candidate) -> str:
    if candidate.idea == "SE added":
        return SE
    return SCALING if candidate.idea in SINGLE else TRAINING


def _pair(first: Trial | None, second: Trial | None) -> PairedCounts | None:
    """Return the counts of two trials; None where one is missing or failed."""
    if first is None or second is None or first.problem is not None or second.problem is not None:
        return None
    return first.against(second)

"""Networks compared: on the same images, and by their cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convwright.reporting.entry import Entry, Numbered
from convwright.stats.average_precision import precision_difference
from convwright.stats.paired import SIGNIFICANCE, PairedDifference

MOST_PAIRED = 4
"""Of more networks only the best one is compared with each of the others."""


@dataclass(frozen=True)
class Pair(PairedDifference):
    """Two networks on the same images; the first has at least as many correct predictions."""

    first: Numbered
    second: Numbered
    only_first: int
    """Images that only the first predicts correctly."""
    only_second: int
    images: int


@dataclass(frozen=True)
class LabelPair:
    """Two multi-label networks on the same images; the first has no lower mean average precision."""

    first: Numbered
    second: Numbered
    difference: float
    """Difference of mean average precision, 0 to 1."""
    interval: tuple[float, float]
    """Paired bootstrap over images at 95 %."""
    p_value: float
    images: int

    @property
    def significant(self) -> bool:
        """Whether the difference is statistically significant at 5 %."""
        return self.p_value < SIGNIFICANCE


AnyPair = Pair | LabelPair


def pairs(group: Sequence[Numbered]) -> list[AnyPair]:
    """Compare networks with predictions for the same images: every pair of a few networks, else the best with each."""
    ranked = sorted(group, key=lambda numbered: (-numbered[1].accuracy, numbered[0]))
    firsts = ranked[:1] if len(ranked) > MOST_PAIRED else ranked
    return [compare(first, second) for place, first in enumerate(firsts) for second in ranked[place + 1 :]]


def compare(first: Numbered, second: Numbered) -> AnyPair:
    """Compare the predictions of two networks image by image."""
    mine_sets, their_sets = first[1].label_predictions, second[1].label_predictions
    if mine_sets is not None and their_sets is not None:
        scores = mine_sets.measures.logits.numpy(), their_sets.measures.logits.numpy()
        found = precision_difference(*scores, mine_sets.labels.numpy())
        bounds = found.interval or (found.difference, found.difference)
        return LabelPair(first, second, found.difference, bounds, found.p_value, len(mine_sets.labels))
    one, other = (numbered[1].predictions for numbered in (first, second))
    if one is None or other is None:
        raise ValueError("networks are compared by their predictions, and these are not available")
    mine, theirs = one.correct, other.correct
    return Pair(first, second, int((mine & ~theirs).sum()), int((theirs & ~mine).sum()), len(mine))


def front(entries: Sequence[Entry], price: Callable[[Entry], float]) -> list[int]:
    """Return the indices of the networks on the Pareto front, the cheapest first."""

    def is_dominated(entry: Entry) -> bool:
        mine = (price(entry), -entry.accuracy)
        theirs = [(price(other), -other.accuracy) for other in entries]
        return any(other != mine and other[0] <= mine[0] and other[1] <= mine[1] for other in theirs)

    kept = [index for index, entry in enumerate(entries) if not is_dominated(entry)]
    return sorted(kept, key=lambda index: price(entries[index]))

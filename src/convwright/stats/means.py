"""What a few seeds can tell: intervals of means, and of differences between candidates that share their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import mean, stdev

from convwright.stats.distributions import student_quantile

LEVEL = 0.95
NOTHING = 1e-9
"""Accuracies so near to each other are equal."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, with its 95 % interval; none from one seed, nor from results that are all equal.

    Accuracies go in steps of an image: that a few of them agree says that the spread is small, not that it is nothing.
    """

    value: float
    half: float | None
    count: int


def mean_of_seeds(values: Sequence[float]) -> Mean:
    """Return the mean of some results with Student's interval."""
    return _interval(values, 1)


def difference(first: Mapping[int, float], second: Mapping[int, float], comparisons: int = 1) -> Mean:
    """Return the mean difference between two candidates over the seeds that both have (results by seed).

    Seeds fix split, order, augmentation and noise, so that what they do to both cancels out. comparisons: the level
    holds for so many of them together (Bonferroni).
    """
    shared = sorted(first.keys() & second.keys())
    return _interval([first[seed] - second[seed] for seed in shared], comparisons)


def indistinguishable(results: Mapping[int, Mapping[int, float]]) -> list[int]:
    """Return the candidates that the best one (by its mean) cannot be told apart from, the best included.

    results: by candidate, then by seed. The level holds for all comparisons together: for those of every two
    candidates, since which one is best is seen from the same results.
    """
    ranked = sorted(results, key=lambda one: -mean(results[one].values()))
    best, pairs = ranked[0], comb(len(ranked), 2)
    gaps = {other: difference(results[best], results[other], pairs) for other in ranked[1:]}
    return [best, *(other for other, gap in gaps.items() if gap.half is None or gap.value <= gap.half)]


def quantile(degrees: int, comparisons: int = 1) -> float:
    """Return Student's two-sided quantile for the level, shared among so many comparisons."""
    return student_quantile(1 - (1 - LEVEL) / 2 / comparisons, degrees)


def _interval(values: Sequence[float], comparisons: int) -> Mean:
    count = len(values)
    if count < 2 or max(values) - min(values) < NOTHING:
        return Mean(mean(values), None, count)
    return Mean(mean(values), quantile(count - 1, comparisons) * stdev(values) / sqrt(count), count)

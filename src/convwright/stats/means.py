"""Means of a few values, such as accuracies over seeds, with Student's intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import mean, stdev

from convwright.stats.distributions import student_quantile

LEVEL = 0.95
SMALLEST_SPREAD = 1e-9
"""Results that differ by less are equal."""


@dataclass(frozen=True)
class Mean:
    """A mean with its confidence interval at 95 %.

    Args:
        value: The mean.
        margin: Half the width of the interval. None for a single value, and for values that are all equal: accuracies
            go in steps of one image, so that a few equal ones show that the spread is small, not that it is zero.
        count: Number of values.
    """

    value: float
    margin: float | None
    count: int


def mean_of_seeds(values: Sequence[float]) -> Mean:
    """Return the mean of results over seeds, with Student's interval."""
    return _mean(values, 1)


def mean_of_folds(values: Sequence[float], ratio: float) -> Mean:
    """Return the mean of a cross-validation's results, with the corrected interval of Nadeau and Bengio (2003).

    Runs of a cross-validation share most of their training images, so that their results vary together. Student's
    interval, which takes them as independent, is too narrow; here the variance of the mean is that of the results times
    `1 / count + ratio`, instead of `1 / count`.

    Args:
        values: Result of each fold.
        ratio: Validation images per training image of a run.
    """
    plain = _mean(values, 1)
    if plain.margin is None:
        return plain
    return Mean(plain.value, plain.margin * sqrt(1 + plain.count * ratio), plain.count)


def difference(first: Mapping[int, float], second: Mapping[int, float], comparisons: int = 1) -> Mean:
    """Return the mean paired difference between two candidates over the seeds that both have.

    A seed fixes split, order, augmentation and noise, so that its effect on both candidates cancels out.

    Args:
        first: Results of one candidate by seed.
        second: Results of the other candidate by seed.
        comparisons: Number of comparisons for which the level holds together (Bonferroni's correction).
    """
    shared = sorted(first.keys() & second.keys())
    return _mean([first[seed] - second[seed] for seed in shared], comparisons)


def indistinguishable(results: Mapping[int, Mapping[int, float]]) -> list[int]:
    """Return the best candidate by its mean, and those that are statistically indistinguishable from it.

    The level holds for the comparisons of every two candidates together, because the same results show which candidate
    is the best one.

    Args:
        results: Results by candidate, then by seed.
    """
    ranked = sorted(results, key=lambda one: -mean(results[one].values()))
    best, pairs = ranked[0], comb(len(ranked), 2)
    gaps = {other: difference(results[best], results[other], pairs) for other in ranked[1:]}
    return [best, *(other for other, gap in gaps.items() if gap.margin is None or gap.value <= gap.margin)]


def student_half_width(deviation: float, count: int, comparisons: int = 1) -> float:
    """Return half the width of Student's interval of a mean at 95 % (Student 1908, Biometrika 6).

    Args:
        deviation: Standard deviation of the values, with `count - 1` in its denominator.
        count: Number of values, 2 or more.
        comparisons: Number of intervals for which the level holds together (Bonferroni's correction).
    """
    return quantile(count - 1, comparisons) * deviation / sqrt(count)


def quantile(degrees: int, comparisons: int = 1) -> float:
    """Return Student's two-sided quantile at 95 %.

    Args:
        degrees: Degrees of freedom.
        comparisons: Number of comparisons that share the level (Bonferroni's correction).
    """
    return student_quantile(1 - (1 - LEVEL) / 2 / comparisons, degrees)


def _mean(values: Sequence[float], comparisons: int) -> Mean:
    count = len(values)
    if count < 2 or max(values) - min(values) < SMALLEST_SPREAD:
        return Mean(mean(values), None, count)
    return Mean(mean(values), student_half_width(stdev(values), count, comparisons), count)

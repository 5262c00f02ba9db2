"""Quantiles of Student's t and tails of the binomial distribution, without SciPy."""

import math
from functools import cache

ITERATIONS = 1000
"""Most terms of a continued fraction; about the square root of the degrees of freedom is enough."""


@cache
def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        probability: Probability of a value up to the quantile, 0.5 to below 1.
        degrees: Degrees of freedom, 1 or more.

    Returns:
        The quantile, with a relative error below 1e-9.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0.5 <= probability < 1 and degrees >= 1):
        raise ValueError(f"no quantile of Student's t for probability {probability} and {degrees} degrees of freedom")
    tail = 2 * (1 - probability)
    low, high = 0.0, 1.0
    while _two_sided_tail(high, degrees) > tail:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _two_sided_tail(middle, degrees) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def binomial_tail(successes: int, trials: int) -> float:
    """Return the probability of at most a number of successes in trials that succeed with probability one half.

    Args:
        successes: Number of successes, 0 to `trials`.
        trials: Number of trials, 0 or more.
    """
    term = total = 1
    for count in range(1, successes + 1):
        term = term * (trials - count + 1) // count
        total += term
    return total / (1 << trials)


def _two_sided_tail(value: float, degrees: int) -> float:
    """Return the probability that Student's t is farther from 0 than a value of 0 or more."""
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value), value * value / (degrees + value**2))


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """Return the regularised incomplete beta function at `x`. `rest` is `1 - x`, exact near 1 too."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _incomplete_beta(b, a, rest, x)
    factor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    return math.exp(factor) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22)."""
    tiny = 1e-300
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, ITERATIONS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + numerator * d, tiny)
            c = _not_zero(1 + numerator / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny

"""Two classifiers on the same images: the difference of their accuracies, its interval and a test.

Only the images on which exactly one of the two is right carry information about the difference.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convwright.stats.distributions import binomial_tail
from convwright.stats.intervals import Z_95

SIGNIFICANCE = 0.05
"""Largest p-value of a difference that counts as significant."""


class PairedDifference:
    """Statistics of two classifiers on the same images, for classes with the counts that they follow from."""

    if TYPE_CHECKING:

        @property
        def only_first(self) -> int:
            """Images that only the first classifier predicts correctly."""

        @property
        def only_second(self) -> int:
            """Images that only the second classifier predicts correctly."""

        @property
        def images(self) -> int:
            """All images that both have predicted, 1 or more."""

    @property
    def difference(self) -> float:
        """Accuracy of the first classifier minus that of the second, -1 to 1."""
        return (self.only_first - self.only_second) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Agresti and Min's interval of the difference at 95 %."""
        return agresti_min(self.only_first, self.only_second, self.images)

    @property
    def p_value(self) -> float:
        """P-value of McNemar's exact test."""
        return mcnemar(self.only_first, self.only_second)

    @property
    def significant(self) -> bool:
        """Whether the difference is statistically significant at 5 %."""
        return self.p_value < SIGNIFICANCE


@dataclass(frozen=True)
class PairedCounts(PairedDifference):
    """How often only one of two classifiers is right.

    Args:
        only_first: Images that only the first classifier predicts correctly.
        only_second: Images that only the second one predicts correctly.
        images: All images that both have predicted, 1 or more.
    """

    only_first: int
    only_second: int
    images: int


def agresti_min(only_first: int, only_second: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Return an interval of the difference of two paired shares (Agresti and Min 2005, Statistics in Medicine 24).

    It is Wald's interval with half an image added to each of the four outcomes, which keeps its level where hardly
    any prediction differs.

    Args:
        only_first: Images on which only the first classifier is right.
        only_second: Images on which only the second one is right.
        images: All images, 1 or more.
        z: Quantile of the standard normal distribution; the level is 95 % by default.

    Returns:
        Lower and upper bound, -1 to 1.
    """
    total, difference = images + 2, only_first - only_second
    middle = difference / total
    spread = z * math.sqrt(only_first + only_second + 1 - difference**2 / total) / total
    return max(-1.0, middle - spread), min(1.0, middle + spread)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947; Fagerland, Lydersen and Laake 2013).

    It is the probability of a split at least this uneven if each differing image were equally likely to go either way.

    Args:
        only_first: Images on which only the first classifier is right.
        only_second: Images on which only the second one is right.
    """
    return min(1.0, 2 * binomial_tail(min(only_first, only_second), only_first + only_second))

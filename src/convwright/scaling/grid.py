"""The grid of a search: alpha, beta, gamma that double the multiply-adds, by the formula and after rounding."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.errors import ArgumentError, NetworkError, UsageError
from convwright.scaling.rules import Compound, Factors

LARGEST_TARGET = 16
EPSILON = 1e-9
"""Tolerance of floats where a point lies on the edge of the grid."""


@dataclass(frozen=True)
class GridPoint:
    """A point of the grid, with the base scaled by it at phi = 1."""

    alpha: float
    beta: float
    gamma: float
    network: Network
    macs: int

    @property
    def rule(self) -> Compound:
        """The rule with these coefficients."""
        return Compound(self.alpha, self.beta, self.gamma)

    @property
    def name(self) -> str:
        """The coefficients, as tables show them."""
        return f"alpha {self.alpha:g}, beta {self.beta:g}, gamma {self.gamma:g}"


@dataclass(frozen=True)
class Grid:
    """A grid over alpha, beta and gamma.

    Args:
        step: Step of each coefficient, from 1 up.
        target: Multiply-adds of a candidate over the base's.
        tolerance: Largest relative deviation from the target, by the formula and of the network.

    Raises:
        ArgumentError: A value is out of bounds.
    """

    step: float = 0.1
    target: float = 2.0
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        if not 0.01 <= self.step <= 1:
            raise ArgumentError("step", f"must be 0.01 to 1, not {self.step:g}")
        if not 1 < self.target <= LARGEST_TARGET:
            raise ArgumentError("target", f"must be above 1 and at most {LARGEST_TARGET}, not {self.target:g}")
        if not 0 < self.tolerance < 1:
            raise ArgumentError("tolerance", f"must be above 0 and below 1, not {self.tolerance:g}")

    def points(self) -> Iterator[Compound]:
        """Yield every point with alpha, beta, gamma >= 1 and alpha beta^2 gamma^2 near the target."""
        most = self.target * (1 + self.tolerance + EPSILON)
        for alpha in self._values(most):
            for beta in self._values(math.sqrt(most / alpha)):
                for gamma in self._values(math.sqrt(most / (alpha * beta**2))):
                    if self._near(alpha * beta**2 * gamma**2 / self.target):
                        yield Compound(alpha, beta, gamma)

    def candidates(self, base: Network) -> tuple[GridPoint, ...]:
        """Return the points whose network meets the target after rounding, each network once.

        Where several points round to the same network, the point whose formula is nearest to the target is kept.

        Args:
            base: The network to scale.

        Raises:
            UsageError: No point of the grid meets the target.
        """
        wanted = self.target * cost(base).macs
        found: dict[Network, Compound] = {}
        for rule in self.points():
            try:
                network = Factors(rule.alpha, rule.beta, rule.gamma).apply(base)
            except NetworkError:
                continue
            if not self._near(cost(network).macs / wanted):
                continue
            if network not in found or self._deviation(rule) < self._deviation(found[network]):
                found[network] = rule
        if not found:
            raise UsageError(
                f"no point of the grid makes {self.target:g} times the multiply-adds of {base.name} within "
                f"{self.tolerance:.0%}: use a smaller step or a larger tolerance"
            )
        chosen = [
            GridPoint(rule.alpha, rule.beta, rule.gamma, network, cost(network).macs) for network, rule in found.items()
        ]
        return tuple(sorted(chosen, key=lambda each: (each.alpha, each.beta, each.gamma)))

    def _values(self, most: float) -> Iterator[float]:
        count = math.floor((most - 1) / self.step + EPSILON)
        return (round(1 + index * self.step, 6) for index in range(count + 1))

    def _near(self, ratio: float) -> bool:
        return abs(ratio - 1) <= self.tolerance + EPSILON

    def _deviation(self, rule: Compound) -> float:
        return abs(math.log(rule.step / self.target))

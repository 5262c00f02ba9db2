"""Step 1's grid: alpha, beta, gamma that double the multiply-adds, by the formula and after rounding."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.errors import NetworkError, UsageError
from convwright.scaling.rules import Compound, Factors

LARGEST_TARGET = 16
EPSILON = 1e-9
"""What floats may be off where a point lies on the grid's edge."""


@dataclass(frozen=True)
class GridPoint:
    """A point of the grid, and the network that it makes of the base at phi = 1."""

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
    def told(self) -> str:
        """The three coefficients, as tables show them."""
        return f"alpha {self.alpha:g}, beta {self.beta:g}, gamma {self.gamma:g}"


@dataclass(frozen=True)
class Grid:
    """How fine the grid is, and how far its points may be from `target` times the base's multiply-adds."""

    step: float = 0.1
    target: float = 2.0
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        if not 0.01 <= self.step <= 1:
            raise UsageError(f"the grid's step lies between 0.01 and 1, not {self.step:g}")
        if not 1 < self.target <= LARGEST_TARGET:
            raise UsageError(f"the target factor is above 1 and at most {LARGEST_TARGET}, not {self.target:g}")
        if not 0 < self.tolerance < 1:
            raise UsageError(f"the tolerance is a share between 0 and 1, not {self.tolerance:g}")

    def points(self) -> Iterator[Compound]:
        """Yield every alpha, beta, gamma >= 1 on the grid with alpha beta^2 gamma^2 near the target."""
        most = self.target * (1 + self.tolerance + EPSILON)
        for alpha in self._steps(most):
            for beta in self._steps(math.sqrt(most / alpha)):
                for gamma in self._steps(math.sqrt(most / (alpha * beta**2))):
                    if self._near(alpha * beta**2 * gamma**2 / self.target):
                        yield Compound(alpha, beta, gamma)

    def candidates(self, base: Network) -> tuple[GridPoint, ...]:
        """Return the points whose network, after rounding, meets the target, each network once.

        Of points that round to one network, the one whose formula is nearest to the target stands for it. Raises
        UsageError if none is left.
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
            if network not in found or self._miss(rule) < self._miss(found[network]):
                found[network] = rule
        if not found:
            raise UsageError(
                f"no point of the grid makes {self.target:g} times the multiply-adds of {base.name} within "
                f"{self.tolerance:.0%}: take a finer --step or a larger --tolerance"
            )
        chosen = [
            GridPoint(rule.alpha, rule.beta, rule.gamma, network, cost(network).macs) for network, rule in found.items()
        ]
        return tuple(sorted(chosen, key=lambda one: (one.alpha, one.beta, one.gamma)))

    def _steps(self, most: float) -> Iterator[float]:
        count = math.floor((most - 1) / self.step + EPSILON)
        return (round(1 + index * self.step, 6) for index in range(count + 1))

    def _near(self, share: float) -> bool:
        return abs(share - 1) <= self.tolerance + EPSILON

    def _miss(self, rule: Compound) -> float:
        return abs(math.log(rule.step / self.target))

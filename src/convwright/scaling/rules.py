"""Scaling rules: each computes the factors of depth, width and resolution from one number.

The number, `amount`, counts doublings: a rule makes the multiply-adds 2^amount times as many before rounding. They
are in proportion to d * w^2 * r^2 (EfficientNet, section 3.2).
"""

from dataclasses import dataclass
from math import log2, sqrt
from typing import NamedTuple, Protocol

from convwright.arch import Network, scale
from convwright.arch.operators import compound_factors
from convwright.errors import UsageError


class Factors(NamedTuple):
    """Factors by which depth, width and resolution are multiplied."""

    depth: float
    width: float
    resolution: float

    @property
    def work(self) -> float:
        """Factor of the multiply-adds, before rounding."""
        return self.depth * self.width**2 * self.resolution**2

    def apply(self, network: Network) -> Network:
        """Return the network scaled by these factors, rounded as EfficientNet rounds."""
        return scale(network, self.depth, self.width, self.resolution)


class Rule(Protocol):
    """A way to scale a network."""

    @property
    def name(self) -> str:
        """Name of the rule, as tables show it."""

    def factors(self, amount: float) -> Factors:
        """Return the factors for a number of doublings, which is below 0 for a smaller network."""


@dataclass(frozen=True)
class Compound:
    """Compound scaling: d = alpha^phi, w = beta^phi, r = gamma^phi (EfficientNet, equation 3).

    Args:
        alpha: Depth is multiplied by alpha^phi; 1 or more.
        beta: Width is multiplied by beta^phi; 1 or more.
        gamma: Resolution is multiplied by gamma^phi; 1 or more.

    Raises:
        UsageError: A coefficient is below 1, or all are 1.
    """

    alpha: float = 1.2
    beta: float = 1.1
    gamma: float = 1.15

    def __post_init__(self) -> None:
        if self.at(1) == (1, 1, 1):
            raise UsageError("alpha, beta and gamma are each 1 or more, and not all of them 1")

    @property
    def step(self) -> float:
        """Factor of the multiply-adds for phi = 1: alpha beta^2 gamma^2, about 2 for the published coefficients."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def name(self) -> str:
        """Name of the rule, as tables show it."""
        return "compound"

    def phi(self, amount: float) -> float:
        """Return the compound coefficient that gives a number of doublings."""
        return amount / log2(self.step)

    def factors(self, amount: float) -> Factors:
        """Return the factors for a number of doublings."""
        return self.at(self.phi(amount))

    def at(self, phi: float) -> Factors:
        """Return the factors at a compound coefficient.

        Raises:
            NetworkError: The compound coefficient, or one of alpha, beta and gamma, is out of range.
        """
        return Factors(*compound_factors(phi, self.alpha, self.beta, self.gamma))


@dataclass(frozen=True)
class Shares:
    """A rule that spends shares of each doubling on depth, width and resolution; the shares add up to 1."""

    name: str
    depth: float
    width: float
    resolution: float

    def factors(self, amount: float) -> Factors:
        """Return the factors for a number of doublings.

        Multiply-adds grow with the square of width and resolution, which therefore grow by the square root.
        """
        work = 2.0**amount
        return Factors(work**self.depth, sqrt(work**self.width), sqrt(work**self.resolution))


FAST = Shares("fast compound (mostly width)", 0.1, 0.8, 0.1)
"""Dollár et al. 2021, section 4.3, at alpha = 0.8: activations, which determine the latency, grow least."""
RULES: tuple[Rule, ...] = (
    Compound(),
    Shares("depth alone", 1.0, 0.0, 0.0),
    Shares("width alone", 0.0, 1.0, 0.0),
    Shares("resolution alone", 0.0, 0.0, 1.0),
    FAST,
)
"""EfficientNet's rule, the three single dimensions of its Figure 3, and fast compound scaling."""

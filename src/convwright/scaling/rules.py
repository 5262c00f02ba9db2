"""Rules by which a network grows: each says how depth, width and resolution follow from one number.

`amount` counts doublings: a rule aims at 2^amount times the multiply-adds, which are in proportion to
d * w^2 * r^2 (EfficientNet, section 3.2), before rounding.
"""

from dataclasses import dataclass
from math import log2, sqrt
from typing import NamedTuple, Protocol

from convwright.arch import Network, scale
from convwright.arch.operators import compound_factors
from convwright.errors import UsageError


class Factors(NamedTuple):
    """What depth, width and resolution are multiplied by."""

    depth: float
    width: float
    resolution: float

    @property
    def work(self) -> float:
        """What multiply-adds are multiplied by, before rounding."""
        return self.depth * self.width**2 * self.resolution**2

    def apply(self, network: Network) -> Network:
        """Return the network scaled by these factors, rounded as EfficientNet rounds."""
        return scale(network, self.depth, self.width, self.resolution)


class Rule(Protocol):
    """How a network grows."""

    @property
    def told(self) -> str:
        """The rule in words."""

    def factors(self, amount: float) -> Factors:
        """Return the factors for a number of doublings, below 0 for a smaller network."""


@dataclass(frozen=True)
class Compound:
    """EfficientNet's: d = alpha^phi, w = beta^phi, r = gamma^phi (equation 3)."""

    alpha: float = 1.2
    beta: float = 1.1
    gamma: float = 1.15

    def __post_init__(self) -> None:
        if self.at(1) == (1, 1, 1):
            raise UsageError("alpha, beta and gamma are each 1 or more, and not all of them 1")

    @property
    def step(self) -> float:
        """What one phi multiplies the multiply-adds by: alpha beta^2 gamma^2, about 2 for the published three."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def told(self) -> str:
        """The rule in words."""
        return "compound"

    def phi(self, amount: float) -> float:
        """Return the compound coefficient that gives a number of doublings."""
        return amount / log2(self.step)

    def factors(self, amount: float) -> Factors:
        """All three together."""
        return self.at(self.phi(amount))

    def at(self, phi: float) -> Factors:
        """Return the factors at a compound coefficient; NetworkError if it or a coefficient is out of range."""
        return Factors(*compound_factors(phi, self.alpha, self.beta, self.gamma))


@dataclass(frozen=True)
class Shares:
    """Of each doubling, a share goes to depth, to width and to resolution; the shares add up to 1."""

    told: str
    depth: float
    width: float
    resolution: float

    def factors(self, amount: float) -> Factors:
        """Width and resolution count twice in multiply-adds, so that they grow by the square root."""
        work = 2.0**amount
        return Factors(work**self.depth, sqrt(work**self.width), sqrt(work**self.resolution))


FAST = Shares("fast compound (mostly width)", 0.1, 0.8, 0.1)
"""Dollar et al. 2021, section 4.3, at alpha = 0.8: activations, which set the time, then grow least."""
RULES: tuple[Rule, ...] = (
    Compound(),
    Shares("depth alone", 1.0, 0.0, 0.0),
    Shares("width alone", 0.0, 1.0, 0.0),
    Shares("resolution alone", 0.0, 0.0, 1.0),
    FAST,
)
"""EfficientNet's rule, the three single dimensions of its Figure 3, and fast compound scaling."""

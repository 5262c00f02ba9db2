"""EfficientNet's published coefficients beside its formula d = alpha^phi, w = beta^phi, r = gamma^phi.

The names do not give phi: B1 is not phi = 1. One phi a network, in halves, fits what was published: 0.5, 1, 2, 3.5,
5, 6, 7 for B1 to B7. Widths then agree to the printed digit but for B7; resolutions were rounded up to what strides
divide well. Depths stay behind from B4 on, because every stage rounds its repetitions up: it is the depth after
rounding that follows alpha^phi.
"""

import math
from dataclasses import dataclass
from math import log

from convwright.reproduction.claim import costs, read
from convwright.zoo.efficientnet import VARIANTS

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15
"""Section 3.3: found by the paper's grid search for B0."""
RESOLUTION = 224
FURTHEST = 8


@dataclass(frozen=True)
class Coefficients:
    """A network's published width, depth and resolution, and the phi that they amount to."""

    key: str
    width: float
    depth: float
    resolution: int

    @property
    def phi(self) -> float:
        """The multiple of 0.5 at which the formula comes nearest to width and resolution in the logarithm."""
        return min((half / 2 for half in range(2 * FURTHEST + 1)), key=self._distance)

    def _distance(self, phi: float) -> float:
        pairs = ((self.width, BETA), (self.resolution / RESOLUTION, GAMMA))
        return sum((log(published) - phi * log(base)) ** 2 for published, base in pairs)

    @property
    def blocks(self) -> int:
        """Blocks in the network's stages, after every stage has rounded up."""
        return sum(stage.repeats for stage in read(f"efficientnet_{self.key}").stages)

    @property
    def depth_after_rounding(self) -> float:
        """Blocks over those of B0."""
        return self.blocks / sum(stage.repeats for stage in read("efficientnet_b0").stages)

    @property
    def doublings(self) -> float:
        """How often B0's multiply-adds are doubled: what phi counts, if alpha * beta^2 * gamma^2 is 2."""
        return math.log2(costs(f"efficientnet_{self.key}").macs / costs("efficientnet_b0").macs)


def published() -> tuple[Coefficients, ...]:
    """Return the coefficients of B1 to B7."""
    return tuple(Coefficients(key, *VARIANTS[key][:3]) for key in (f"b{index}" for index in range(1, 8)))

"""SENet-154 (Hu et al. 2018, appendix): a 64x4d ResNeXt-152 with SE, changed in what cost or hurt most."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Conv, Identity, Layer, Norm, Seq
from convwright.arch.network import Network, Result, Stage
from convwright.arch.node import brief
from convwright.arch.registry import register
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, ThreeStem
from convwright.zoo.resnet import DEPTHS, SE_PAPER


@dataclass(frozen=True, repr=False, slots=True)
class SENetBlock(Block):
    """1x1 to half of `out`, 3x3 in groups to `out`, 1x1; the first 1x1 is half as wide as ResNeXt's.

    shortcut: the kernel of the convolution on a shortcut that changes shape, 3 to lose no pixels to its stride.
    """

    out: int
    groups: int = 64
    stride: int = 1
    shortcut: int = 3
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise NetworkError(f"a convolution needs one group or more, not {brief(self.groups)}")

    def layers(self, channels: int) -> Layer:
        """Body, shortcut, sum, ReLU."""
        # Groups of equal size are kept where a scaled width allows no more.
        half = self.out // 2
        groups = max((g for g in _divisors(half) if g <= self.groups and self.out % (2 * g) == 0), default=1)
        body = Seq(
            *(Conv(self.out // 2), Norm(), Act()),
            *(Conv(self.out, 3, self.stride, groups=groups), Norm(), Act()),
            *(Conv(self.out), Norm()),
        )
        same = channels == self.out and self.stride == 1
        shortcut = Identity() if same else Seq(Conv(self.out, self.shortcut, self.stride), Norm())
        return residual(body, shortcut, self.se, channels, self.out, after=Act())


def _divisors(number: int) -> Iterator[int]:
    for small in range(1, isqrt(number) + 1):
        if number % small == 0:
            yield small
            yield number // small


def senet154() -> Network:
    """The network that won ILSVRC 2017's classification (with others in an ensemble)."""
    stages = tuple(
        Stage(f"stage{i + 1}", SENetBlock(256 * 2**i, 64, 1 if i == 0 else 2, 1 if i == 0 else 3, SE(16)), repeats)
        for i, repeats in enumerate(DEPTHS[152])
    )
    errors = (Result("ImageNet", "top-1 error", 18.68), Result("ImageNet", "top-5 error", 4.47))
    return Network("senet154", ThreeStem(128), stages, Classifier(dropout=0.2), papers=(SE_PAPER,), results=errors)


register("SENet", "senet154", senet154)

"""ResNeXt (Xie et al. 2017) and Wide ResNet for ImageNet (Zagoruyko and Komodakis 2016), with their SE-versions.

Both are ResNets whose bottleneck is wider inside: ResNeXt's 3x3 convolution is cut into groups ("cardinality"),
the wide networks' is not.
"""

from dataclasses import dataclass
from typing import ClassVar

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Conv, Layer, Norm, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.resnet import DEPTHS, SE_PAPER, projection
from convwright.zoo.wide_resnet import PAPER as WIDE_PAPER

PAPER = Paper("Aggregated Residual Transformations for Deep Neural Networks", "Xie et al.", 2017, "1611.05431")


@dataclass(frozen=True, repr=False, slots=True)
class Aggregated(Block):
    """1x1 to `groups` * `group_width` maps, 3x3 in `groups` groups, 1x1 to `out`, and a shortcut (Figure 3c)."""

    out: int
    group_width: int
    groups: int = 32
    stride: int = 1
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("out", "group_width")
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Body, shortcut, sum, ReLU."""
        inside = self.groups * self.group_width
        body = Seq(
            *(Conv(inside), Norm(), Act()),
            *(Conv(inside, 3, self.stride, groups=self.groups), Norm(), Act()),
            *(Conv(self.out), Norm()),
        )
        return residual(body, projection(channels, self.out, self.stride), self.se, channels, self.out, after=Act())


# Table 1 and SENet's Table 2: depth, groups, maps per group in the first stage, top-1 and top-5 error as SENet
# prints them for its re-implementation, and with SE.
RESNEXTS = {
    "resnext50_32x4d": (50, 32, 4, (22.11, 5.90), (21.10, 5.49)),
    "resnext101_32x4d": (101, 32, 4, (21.18, 5.57), (20.70, 5.01)),
    "resnext101_32x8d": (101, 32, 8, (), ()),
    "resnext101_64x4d": (101, 64, 4, (), ()),
}
WIDE = {"wide_resnet50_2": (50, 1, 128, (), ()), "wide_resnet101_2": (101, 1, 128, (), ())}


def imagenet(name: str, se: SE | None = None) -> Network:
    """A four-stage network for 224-pixel images; each stage is twice as wide as the one before."""
    depth, groups, width, plain, with_se = (RESNEXTS | WIDE)[name]
    stages = tuple(
        Stage(f"stage{i + 1}", Aggregated(256 * 2**i, width * 2**i, groups, 1 if i == 0 else 2, se), repeats)
        for i, repeats in enumerate(DEPTHS[depth])
    )
    errors = zip(("top-1 error", "top-5 error"), with_se if se else plain, strict=False)
    papers = (PAPER if name in RESNEXTS else WIDE_PAPER,)
    return Network(
        f"se{name}" if se else name,
        Stem(64, kernel=7, stride=2, pool="max"),
        stages,
        Classifier(),
        papers=(*papers, SE_PAPER) if se else papers,
        results=tuple(Result("ImageNet", metric, value) for metric, value in errors),
    )


def _register() -> None:
    for names, family in ((RESNEXTS, "ResNeXt"), (WIDE, "Wide ResNet")):
        for name in names:
            register(family, name, lambda n=name: imagenet(n))  # type: ignore[misc]
    for name in RESNEXTS:
        register("SE-ResNeXt", f"se{name}", lambda n=name: imagenet(n, SE(16)))  # type: ignore[misc]


_register()

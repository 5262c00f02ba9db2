"""MobileNet (Howard et al. 2017), MobileNetV2 (Sandler et al. 2018), and SE-MobileNet (SENet, section 4).

Their width multiplier is `|scale:w=`, and their resolution multiplier `|scale:r=`.
"""

from dataclasses import dataclass
from typing import ClassVar

from convwright.arch.blocks import SE, Block
from convwright.arch.layers import Act, Conv, Layer, Norm, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.efficientnet import MBConv, without_shortcut
from convwright.zoo.resnet import SE_PAPER

PAPER = Paper(
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    "Howard et al.",
    2017,
    "1704.04861",
)
V2_PAPER = Paper("MobileNetV2: Inverted Residuals and Linear Bottlenecks", "Sandler et al.", 2018, "1801.04381")


@dataclass(frozen=True, repr=False, slots=True)
class Separable(Block):
    """3x3 depthwise convolution, then 1x1, each normalised and activated (MobileNet, Figure 3 right)."""

    out: int
    stride: int = 1
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Filter each map, combine them, gate."""
        body = Seq(
            *(Conv(channels, 3, self.stride, groups=channels), Norm(), Act("relu6")),
            *(Conv(self.out), Norm(), Act("relu6")),
        )
        return without_shortcut(body, self.se, channels, self.out)


# Table 1: channels, stride, repeats.
V1_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2))
# MobileNetV2, Table 2: expansion, channels, repeats, stride.
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1(se: SE | None = None) -> Network:
    """MobileNet 1.0 at 224 pixels; errors as SENet prints them for its re-implementation."""
    stages = tuple(
        Stage(f"stage{index}", Separable(out, stride, se), repeats)
        for index, (out, stride, repeats) in enumerate(V1_STAGES, start=1)
    )
    errors = (25.3, 7.7) if se else (28.4, 9.4)
    return Network(
        "se_mobilenet_v1" if se else "mobilenet_v1",
        Stem(32, stride=2, act="relu6"),
        stages,
        Classifier(),
        papers=(PAPER, SE_PAPER) if se else (PAPER,),
        results=tuple(Result("ImageNet", f"top-{k} error", value) for k, value in zip((1, 5), errors, strict=True)),
    )


def mobilenet_v2() -> Network:
    """MobileNetV2 1.0 at 224 pixels."""
    stages = tuple(
        Stage(f"stage{i}", MBConv(out, expand, 3, stride, None, momentum=0.1, act="relu6"), repeats)
        for i, (expand, out, repeats, stride) in enumerate(V2_STAGES, start=1)
    )
    return Network(
        "mobilenet_v2",
        Stem(32, stride=2, act="relu6"),
        stages,
        Classifier(hidden=1280, act="relu6", dropout=0.2),
        papers=(V2_PAPER,),
        results=(Result("ImageNet", "top-1 accuracy", 72.0),),
    )


register("MobileNet", "mobilenet_v1", mobilenet_v1)
register("MobileNet", "mobilenet_v2", mobilenet_v2)
register("SE-MobileNet", "se_mobilenet_v1", lambda: mobilenet_v1(SE(16)))

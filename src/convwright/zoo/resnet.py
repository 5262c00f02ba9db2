"""ResNet (He et al. 2016) and SE-ResNet (Hu et al. 2018).

`resnet50` has a bottleneck's stride in its 3x3 convolution, like torchvision and most published weights;
`resnet50_v1` has it in the first 1x1 convolution and pools like Caffe, as both papers count and trained.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Conv, Identity, Layer, Norm, PadChannels, Pool, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register, register_pattern
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, Stem

PAPER = Paper("Deep Residual Learning for Image Recognition", "He et al.", 2016, "1512.03385")
SE_PAPER = Paper("Squeeze-and-Excitation Networks", "Hu et al.", 2018, "1709.01507")


def _shortcut(channels: int, out: int, stride: int, kind: str) -> Layer:
    """The identity where shapes allow it; else a 1x1 convolution (B) or zero channels (A; section 3.3)."""
    if channels == out and stride == 1:
        return Identity()
    if kind == "projection":
        return Seq(Conv(out, stride=stride), Norm())
    if out < channels:
        raise NetworkError(f"a zero-padded shortcut cannot go from {channels} channels down to {out}")
    subsample = Pool("max", kernel=1, stride=stride) if stride > 1 else Identity()
    return Seq(subsample, PadChannels(out) if out > channels else Identity())


def projection(channels: int, out: int, stride: int) -> Layer:
    """The identity where shapes allow it, else a 1x1 convolution (option B; section 3.3)."""
    return _shortcut(channels, out, stride, "projection")


@dataclass(frozen=True, repr=False, slots=True)
class BasicBlock(Block):
    """Two 3x3 convolutions and a shortcut (ResNet, Figure 5 left)."""

    out: int
    stride: int = 1
    shortcut: Literal["projection", "zero-pad"] = "projection"
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Body, shortcut, sum, ReLU."""
        body = Seq(Conv(self.out, 3, self.stride), Norm(), Act(), Conv(self.out, 3), Norm())
        shortcut = _shortcut(channels, self.out, self.stride, self.shortcut)
        return residual(body, shortcut, self.se, channels, self.out, after=Act())


@dataclass(frozen=True, repr=False, slots=True)
class Bottleneck(Block):
    """1x1 down to `width`, 3x3, 1x1 up to 4 * width, and a shortcut (ResNet, Figure 5 right).

    Args:
        width: Channels of the first 1x1 and of the 3x3 convolution.
        stride: Stride of the block.
        stride_in: Convolution that has the stride, the first 1x1 or the 3x3.
        se: Squeeze-and-excitation, or None.
    """

    width: int
    stride: int = 1
    stride_in: Literal["1x1", "3x3"] = "3x3"
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("width",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)
    expansion: ClassVar[int] = 4

    def layers(self, channels: int) -> Layer:
        """Body, shortcut, sum, ReLU."""
        out = self.expansion * self.width
        first, second = (self.stride, 1) if self.stride_in == "1x1" else (1, self.stride)
        body = Seq(
            *(Conv(self.width, 1, first), Norm(), Act()),
            *(Conv(self.width, 3, second), Norm(), Act()),
            *(Conv(out), Norm()),
        )
        shortcut = _shortcut(channels, out, self.stride, "projection")
        return residual(body, shortcut, self.se, channels, out, after=Act())


# Table 1: blocks per stage.
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

# SENet, Table 2: top-1 and top-5 error of the authors' re-implementation, and with SE.
SE_TABLE = {
    50: ((24.80, 7.48), (23.29, 6.62)),
    101: ((23.17, 6.52), (22.38, 6.07)),
    152: ((22.42, 6.34), (21.57, 5.73)),
}

# He et al., Table 6: error on CIFAR-10+.
CIFAR_ERRORS = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}


def imagenet(name: str, depth: int, *, v1: bool = False, se: SE | None = None) -> Network:
    """A four-stage network for 224-pixel images (Table 1)."""
    stride_in: Literal["1x1", "3x3"] = "1x1" if v1 else "3x3"
    stages = []
    for index, repeats in enumerate(DEPTHS[depth]):
        width, stride = 64 * 2**index, 1 if index == 0 else 2
        block = BasicBlock(width, stride, se=se) if depth < 50 else Bottleneck(width, stride, stride_in, se=se)
        stages.append(Stage(f"stage{index + 1}", block, repeats))
    stem = Stem(64, kernel=7, stride=2, pool="max-ceil" if v1 else "max")
    plain, with_se = SE_TABLE.get(depth, ((), ())) if v1 else ((), ())
    errors = tuple(zip(("top-1 error", "top-5 error"), with_se if se else plain, strict=False))
    return Network(
        name,
        stem,
        tuple(stages),
        Classifier(),
        papers=(PAPER, SE_PAPER) if se or errors else (PAPER,),  # SENet prints the plain networks' figures too
        results=tuple(Result("ImageNet", metric, value) for metric, value in errors),
    )


def cifar(depth: int, se: SE | None = None) -> Network:
    """A three-stage network of 6n+2 layers for 32-pixel images, with parameter-free shortcuts (section 4.2)."""
    repeats, rest = divmod(depth - 2, 6)
    name = f"cifar_{'se' if se else ''}resnet{depth}"
    if rest or repeats < 1:
        nearest = 6 * max(1, round((depth - 2) / 6)) + 2
        raise NetworkError(f"{name}: depth must be 6n+2 with n at least 1; the nearest is {nearest}")
    stages = tuple(
        Stage(f"stage{i + 1}", BasicBlock(16 * 2**i, 1 if i == 0 else 2, "zero-pad", se), repeats) for i in range(3)
    )
    error = None if se else CIFAR_ERRORS.get(depth)
    return Network(
        name,
        Stem(16),
        stages,
        Classifier(),
        resolution=32,
        classes=10,
        papers=(PAPER, SE_PAPER) if se else (PAPER,),
        results=() if error is None else (Result("CIFAR-10+", "error", error),),
    )


def _register() -> None:
    for prefix, family, se in (("", "ResNet", None), ("se", "SE-ResNet", SE(16))):
        for depth in DEPTHS:
            name = f"{prefix}resnet{depth}"
            register(family, name, lambda n=name, d=depth, s=se: imagenet(n, d, se=s))  # type: ignore[misc]
        for depth in (d for d in DEPTHS if d >= 50):
            name = f"{prefix}resnet{depth}_v1"
            register(family, name, lambda n=name, d=depth, s=se: imagenet(n, d, v1=True, se=s))  # type: ignore[misc]
        for depth in CIFAR_ERRORS:
            name = f"cifar_{prefix}resnet{depth}"
            register(f"{family} (CIFAR)", name, lambda d=depth, s=se: cifar(d, s))  # type: ignore[misc]

        def named(match: re.Match[str], se: SE | None = se) -> Network:
            return cifar(int(match["depth"]), se)

        expression = rf"cifar_{prefix}_?resnet_?(?P<depth>\d+)"
        register_pattern(f"{family} (CIFAR)", f"cifar_{prefix}resnet<6n+2>", expression, named)


_register()

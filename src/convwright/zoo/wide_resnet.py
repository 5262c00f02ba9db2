"""Pre-activation ResNet (He et al. 2016b), for CIFAR and ImageNet, and Wide ResNet (Zagoruyko and Komodakis 2016).

Both normalise and activate before each convolution. Where a block changes the number of maps, its shortcut too reads
the activated maps.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Conv, Dropout, Identity, Layer, Norm, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register, register_pattern
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.resnet import DEPTHS

PREACT_PAPER = Paper("Identity Mappings in Deep Residual Networks", "He et al.", 2016, "1603.05027")
PAPER = Paper("Wide Residual Networks", "Zagoruyko and Komodakis", 2016, "1605.07146")


@dataclass(frozen=True, repr=False, slots=True)
class PreActBlock(Block):
    """Twice BN-ReLU-Conv3x3, and a shortcut (Wide ResNet, Figure 1); `dropout` between the convolutions."""

    out: int
    stride: int = 1
    dropout: float = 0.0
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Activate, filter, activate, filter, add."""
        dropout = Dropout(self.dropout) if self.dropout else Identity()
        rest = Seq(Conv(self.out, 3, self.stride), Norm(), Act(), dropout, Conv(self.out, 3))
        return _preactivated(rest, channels, self.out, self.stride, self.se)


@dataclass(frozen=True, repr=False, slots=True)
class PreActBottleneck(Block):
    """BN-ReLU before each of 1x1 to `width`, 3x3, and 1x1 to 4 * width, and a shortcut (He et al. 2016b, Figure 4e)."""

    width: int
    stride: int = 1
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("width",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Activate, narrow, filter, widen, add."""
        out = 4 * self.width
        rest = Seq(
            *(Conv(self.width), Norm(), Act()),
            *(Conv(self.width, 3, self.stride), Norm(), Act()),
            Conv(out),
        )
        return _preactivated(rest, channels, out, self.stride, self.se)


def _preactivated(rest: Layer, channels: int, out: int, stride: int, se: SE | None) -> Layer:
    """Put the first activation into the body, or before both branches where the shortcut is a convolution."""
    first = Seq(Norm(), Act())
    if channels == out and stride == 1:
        return residual(Seq(first, rest), Identity(), se, channels, out)
    return Seq(first, residual(rest, Conv(out, stride=stride), se, channels, out))


# Blocks per stage of the networks for ImageNet: those of ResNet, and the deepest one (He et al. 2016b, section 5).
PREACT_DEPTHS = {**{depth: DEPTHS[depth] for depth in (50, 101, 152)}, 200: (3, 24, 36, 3)}
# DenseNet's Table 2 prints these: error on C10+ and C100+.
WRN_ERRORS: dict[tuple[int, int], tuple[float, ...]] = {(16, 8): (4.81, 22.07), (28, 10): (4.17, 20.50), (40, 4): ()}
PREACT_ERRORS: dict[int, tuple[float, ...]] = {164: (5.46, 24.33), 1001: (4.62, 22.71)}


def wide(depth: int, factor: int) -> Network:
    """WRN-depth-factor: three stages of (depth - 4) / 6 blocks, `factor` times as wide as a ResNet (Table 1)."""
    repeats, rest = divmod(depth - 4, 6)
    name = f"wrn_{depth}_{factor}"
    if rest or repeats < 1 or factor < 1:
        nearest = 6 * max(1, round((depth - 4) / 6)) + 4
        raise NetworkError(f"{name}: depth must be 6n+4 and the factor 1 or more; the nearest depth is {nearest}")
    blocks = [PreActBlock(16 * factor * 2**i, 1 if i == 0 else 2) for i in range(3)]
    return _cifar(name, blocks, repeats, PAPER, WRN_ERRORS.get((depth, factor), ()))


def preact(depth: int) -> Network:
    """A pre-activation ResNet of 9n+2 layers, in bottlenecks (He et al. 2016b, section 5)."""
    repeats, rest = divmod(depth - 2, 9)
    name = f"cifar_preact_resnet{depth}"
    if rest or repeats < 1:
        nearest = 9 * max(1, round((depth - 2) / 9)) + 2
        raise NetworkError(f"{name}: depth must be 9n+2 with n at least 1; the nearest is {nearest}")
    blocks = [PreActBottleneck(16 * 2**i, 1 if i == 0 else 2) for i in range(3)]
    return _cifar(name, blocks, repeats, PREACT_PAPER, PREACT_ERRORS.get(depth, ()))


def preact_imagenet(depth: int) -> Network:
    """A four-stage network for 224-pixel images; its first block normalises the output of the stem's pool."""
    stages = tuple(
        Stage(f"stage{i + 1}", PreActBottleneck(64 * 2**i, 1 if i == 0 else 2), repeats)
        for i, repeats in enumerate(PREACT_DEPTHS[depth])
    )
    stem = Stem(64, kernel=7, stride=2, pool="max", act=None)
    return Network(f"preact_resnet{depth}", stem, stages, Classifier(norm=True), papers=(PREACT_PAPER,))


def _cifar(
    name: str, blocks: list[PreActBlock] | list[PreActBottleneck], repeats: int, paper: Paper, errors: tuple[float, ...]
) -> Network:
    printed = zip(("CIFAR-10+", "CIFAR-100+"), errors, strict=False)
    return Network(
        name,
        Stem(16, act=None),
        tuple(Stage(f"stage{index}", block, repeats) for index, block in enumerate(blocks, start=1)),
        Classifier(norm=True),
        resolution=32,
        classes=10,
        papers=(paper,),
        results=tuple(Result(data, "error", value) for data, value in printed),
    )


def _register() -> None:
    for depth in PREACT_DEPTHS:
        register("Pre-activation ResNet", f"preact_resnet{depth}", lambda d=depth: preact_imagenet(d))  # type: ignore[misc]
    for depth in PREACT_ERRORS:
        register("Pre-activation ResNet (CIFAR)", f"cifar_preact_resnet{depth}", lambda d=depth: preact(d))  # type: ignore[misc]
    for depth, factor in WRN_ERRORS:
        register("Wide ResNet (CIFAR)", f"wrn_{depth}_{factor}", lambda d=depth, k=factor: wide(d, k))  # type: ignore[misc]

    def wide_named(match: re.Match[str]) -> Network:
        return wide(int(match["depth"]), int(match["factor"]))

    def preact_named(match: re.Match[str]) -> Network:
        return preact(int(match["depth"]))

    register_pattern("Wide ResNet (CIFAR)", "wrn_<6n+4>_<k>", r"wrn_?(?P<depth>\d+)_(?P<factor>\d+)", wide_named)
    register_pattern(
        "Pre-activation ResNet (CIFAR)",
        "cifar_preact_resnet<9n+2>",
        r"cifar_preact_?resnet_?(?P<depth>\d+)",
        preact_named,
    )


_register()

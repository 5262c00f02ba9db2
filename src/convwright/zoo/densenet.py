"""DenseNet (Huang et al. 2017): every layer of a block reads the maps of all layers before it.

Layer l of a block reads k0 + k * (l - 1) maps and adds k, its growth rate. DenseNet-B puts a 1x1 convolution
to 4k maps before each 3x3 (bottleneck), DenseNet-C lets a transition keep only a share of the maps
(compression); DenseNet-BC does both. A transition divides sides by two.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from convwright.arch.blocks import SE, Block, dense
from convwright.arch.layers import Act, Conv, Identity, Layer, Norm, Pool, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register, register_pattern
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, Stem, ThreeStem

PAPER = Paper("Densely Connected Convolutional Networks", "Huang et al.", 2017, "1608.06993")


@dataclass(frozen=True, repr=False, slots=True)
class DenseLayer(Block):
    """BN-ReLU-Conv3x3 to `growth` new maps, which are concatenated with the input (section 3).

    With a bottleneck, BN-ReLU-Conv1x1 to `bottleneck` * growth maps comes first.
    """

    growth: int
    bottleneck: int | None = 4
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("growth",)

    def layers(self, channels: int) -> Layer:
        """The composite function H_l beside the identity."""
        squeeze = () if self.bottleneck is None else (Norm(), Act(), Conv(self.bottleneck * self.growth))
        body = Seq(*squeeze, Norm(), Act(), Conv(self.growth, kernel=3))
        return dense(body, self.growth, self.se, channels)


@dataclass(frozen=True, repr=False, slots=True)
class Transition(Block):
    """BN-ReLU-Conv1x1 from m to floor(compression * m) maps, then 2x2 average pooling (section 3)."""

    compression: float = 0.5
    stride: int = 2
    repeatable: ClassVar[bool] = False
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def __post_init__(self) -> None:
        if not 0 < self.compression <= 1:
            raise NetworkError(f"compression is a factor above 0 and at most 1, not {self.compression}")

    def layers(self, channels: int) -> Layer:
        """Compress, then pool."""
        pool = Pool("avg", self.stride, self.stride) if self.stride > 1 else Identity()
        return Seq(Norm(), Act(), Conv(max(1, int(channels * self.compression))), pool)


def densenet(
    name: str,
    growth: int,
    layers: tuple[int, ...],
    *,
    stem: Stem | ThreeStem,
    bottleneck: int | None = 4,
    compression: float = 0.5,
    resolution: int = 224,
    classes: int = 1000,
    results: tuple[Result, ...] = (),
) -> Network:
    """Return a network of dense blocks with transitions between them (Table 1).

    Args:
        name: Name of the network.
        growth: Growth rate k.
        layers: Number of layers of each dense block.
        stem: First block.
        bottleneck: Channels of a bottleneck, as a multiple of the growth rate; None for no bottlenecks.
        compression: Compression factor of the transitions.
        resolution: Native height and width of images.
        classes: Number of classes.
        results: Figures that the paper prints.
    """
    stages: list[Stage] = []
    for index, count in enumerate(layers, start=1):
        if index > 1:
            stages.append(Stage(f"transition{index - 1}", Transition(compression)))
        stages.append(Stage(f"dense{index}", DenseLayer(growth, bottleneck), count))
    head = Classifier(norm=True)
    return Network(name, stem, tuple(stages), head, resolution, 3, classes, papers=(PAPER,), results=results)


# ImageNet (Table 1 and Table 3): growth, layers per block, stem, top-1 and top-5 error where printed.
IMAGENET = {
    "densenet121": (32, (6, 12, 24, 16), 64, 25.02, 7.71),
    "densenet161": (48, (6, 12, 36, 24), 96, None, None),
    "densenet169": (32, (6, 12, 32, 32), 64, 23.80, 6.85),
    "densenet201": (32, (6, 12, 48, 32), 64, 22.58, 6.34),
    "densenet264": (32, (6, 12, 64, 48), 64, 22.15, 6.12),
}

# CIFAR and SVHN (Table 2): error on C10, C10+, C100, C100+, SVHN; None where not printed.
CIFAR = {
    "densenet_l40_k12": (7.00, 5.24, 27.55, 24.42, 1.79),
    "densenet_l100_k12": (5.77, 4.10, 23.79, 20.20, 1.67),
    "densenet_l100_k24": (5.83, 3.74, 23.42, 19.25, 1.59),
    "densenet_bc_l100_k12": (5.92, 4.51, 24.15, 22.27, 1.76),
    "densenet_bc_l250_k24": (5.19, 3.62, 19.64, 17.60, 1.74),
    "densenet_bc_l190_k40": (None, 3.46, None, 17.18, None),
}
CIFAR_COLUMNS = ("CIFAR-10", "CIFAR-10+", "CIFAR-100", "CIFAR-100+", "SVHN")
FORM = "densenet_[b|c|bc]_l<L>_k<k>[_c<compression>]"
EXPRESSION = r"densenet_?(?P<kind>bc|b|c)?_l(?P<depth>\d+)_k(?P<growth>\d+)(?:_c(?P<compression>[\d.]+))?"


def deep_stem() -> Network:
    """Return timm's densenet264d: growth rate 48 and three 3x3 convolutions for a stem."""
    return densenet("densenet264d", 48, IMAGENET["densenet264"][1], stem=ThreeStem(96, 48, pool="max"))


def imagenet(name: str) -> Network:
    """One of the four-block networks for 224-pixel images (Table 1)."""
    growth, layers, stem, top1, top5 = IMAGENET[name]
    printed = (("top-1 error", top1), ("top-5 error", top5))
    results = tuple(Result("ImageNet", metric, value) for metric, value in printed if value is not None)
    return densenet(name, growth, layers, stem=Stem(stem, kernel=7, stride=2, pool="max"), results=results)


def cifar(match: re.Match[str]) -> Network:
    """A three-block network for 32-pixel images: depth L, growth rate k, "BC" or either or none (section 3)."""
    kind, depth, growth = match["kind"] or "", int(match["depth"]), int(match["growth"])
    bottleneck = 4 if "b" in kind else None
    convolutions = 1 if bottleneck is None else 2
    layers, rest = divmod(depth - 4, 3 * convolutions)
    if rest or layers < 1 or growth < 1:
        step = 3 * convolutions
        nearest = max(4 + step, 4 + round((depth - 4) / step) * step)
        raise NetworkError(
            f"{match[0]}: depth L must be 4 + a multiple of {step} (three blocks, {convolutions} "
            f"convolution(s) a layer) and k at least 1; the nearest depth is {nearest}"
        )
    try:
        compression = float(match["compression"]) if match["compression"] else (0.5 if "c" in kind else 1.0)
    except ValueError:
        raise NetworkError(f"{match[0]}: {match['compression']!r} is not a compression factor") from None
    # The stem of BC networks has 2k channels, that of all others 16.
    name, stem = match[0], Stem(2 * growth if kind == "bc" else 16, act=None)
    printed = zip(CIFAR_COLUMNS, CIFAR.get(name, ()), strict=False)
    return densenet(
        name,
        growth,
        (layers,) * 3,
        stem=stem,
        bottleneck=bottleneck,
        compression=compression,
        resolution=32,
        classes=10,
        results=tuple(Result(column, "error", value) for column, value in printed if value is not None),
    )


def _register() -> None:
    for name in IMAGENET:
        register("DenseNet", name, lambda name=name: imagenet(name))  # type: ignore[misc]
    register("DenseNet", "densenet264d", deep_stem)
    for name in CIFAR:
        match = re.fullmatch(EXPRESSION, name)
        if match is not None:
            register("DenseNet (CIFAR)", name, lambda match=match: cifar(match))  # type: ignore[misc]
    register_pattern("DenseNet (CIFAR)", FORM, EXPRESSION, cifar)


_register()

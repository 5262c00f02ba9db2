"""GoogLeNet (Szegedy et al. 2015) and BN-Inception (Ioffe and Szegedy 2015), with Inception's blocks.

Rows of filters are written as `convwright.zoo.filters` reads them. The auxiliary classifiers that help GoogLeNet and
Inception-v3 train are left out: they cost nothing at inference, and weights for them are not read.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Conv, Identity, Layer, Scale, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register
from convwright.zoo import filters
from convwright.zoo.common import Classifier
from convwright.zoo.resnet import SE_PAPER

PAPER = Paper("Going Deeper with Convolutions", "Szegedy et al.", 2015, "1409.4842")
BN_PAPER = Paper(
    "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    "Ioffe and Szegedy",
    2015,
    "1502.03167",
)
EPS = 1e-3
"""Epsilon of batch normalisation in Google's networks."""


@dataclass(frozen=True, repr=False, slots=True)
class Filters(Block):
    """One row of filters: a stem, or a pool between stages. Its early strides can be dropped one by one."""

    row: str
    eps: float = EPS
    repeatable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        filters.read(self.row)

    def layers(self, channels: int) -> Layer:
        """The row's filters in sequence."""
        return filters.layers(self.row, self.eps, True)

    def widened(self, factor: float) -> Self:
        """Scale every convolution."""
        return self._with({"row": filters.changed(self.row, lambda step: step.widened(factor))})

    def without_first_stride(self) -> Self | None:
        """Drop the earliest stride of the row."""
        steps = self.row.split()
        for index, text in enumerate(steps):
            if (plain := filters.changed(text, filters.Step.unstrided)) != text:
                return self._with({"row": " ".join((*steps[:index], plain, *steps[index + 1 :]))})
        return None


@dataclass(frozen=True, repr=False, slots=True)
class Inception(Block):
    """Parallel rows of filters; squeeze-and-excitation gates their concatenated outputs (SENet, Figure 2).

    With `include_pad`, average pools count the zeros around the map. Without a shortcut, the identity placement of
    squeeze-and-excitation does not exist, and the pre placement gates the input.
    """

    rows: tuple[str, ...]
    eps: float = EPS
    include_pad: bool = False
    se: SE | None = None

    def __post_init__(self) -> None:
        filters.check_rows(self.rows)

    def layers(self, channels: int) -> Layer:
        """Concatenate, and gate."""
        body = filters.side_by_side(self.rows, self.eps, self.include_pad)
        if self.se is None or self.se.placement == "identity":
            return body
        if self.se.placement == "pre":
            return Seq(self.se.layers(channels, channels), body)
        out = sum(_width(row, channels) for row in self.rows)
        return Seq(body, self.se.layers(out, channels))

    def widened(self, factor: float) -> Self:
        """Scale every convolution."""
        return self._with({"rows": tuple(filters.changed(row, lambda step: step.widened(factor)) for row in self.rows)})


@dataclass(frozen=True, repr=False, slots=True)
class Reduction(Inception):
    """An Inception block that halves height and width: each of its rows has one step of stride 2."""

    repeatable: ClassVar[bool] = False

    def without_first_stride(self) -> Self | None:
        """Drop the stride of all rows."""
        rows = tuple(filters.changed(row, filters.Step.unstrided) for row in self.rows)
        return self._with({"rows": rows}) if rows != self.rows else None


@dataclass(frozen=True, repr=False, slots=True)
class InceptionResidual(Block):
    """Rows of filters, a 1x1 convolution back to the input's width, scaled down and added to the input.

    `scale` keeps deep stacks stable (Szegedy et al. 2017, section 3.3); `act` adds ReLU after the sum.
    """

    rows: tuple[str, ...]
    scale: float
    act: bool = True
    eps: float = EPS
    se: SE | None = None

    def __post_init__(self) -> None:
        filters.check_rows(self.rows)

    def layers(self, channels: int) -> Layer:
        """Body, shortcut, sum, ReLU."""
        rows = filters.side_by_side(self.rows, self.eps, False)
        body = Seq(rows, Conv(channels, bias=True), Scale(self.scale))
        return residual(body, Identity(), self.se, channels, channels, after=Act() if self.act else Identity())

    def widened(self, factor: float) -> Self:
        """Scale the rows; the output is as wide as the input."""
        return self._with({"rows": tuple(filters.changed(row, lambda step: step.widened(factor)) for row in self.rows)})


def _width(row: str, channels: int) -> int:
    """Return the output channels of a row."""
    for place in filters.read(row):
        channels = sum(step.what if isinstance(step.what, int) else channels for step in place)
    return channels


def _stages(modules: dict[str, Block]) -> tuple[Stage, ...]:
    return tuple(Stage(name, block) for name, block in modules.items())


def _four(one: int, three: tuple[int, int], five: tuple[int, int], pool: int, *, window: int) -> Inception:
    """1x1; 1x1 and 3x3; 1x1 and 5x5; pool and 1x1: a row of GoogLeNet's Table 1."""
    return Inception((f"{one}", f"{three[0]} {three[1]}@3", f"{five[0]} {five[1]}@{window}", f"max {pool}"))


# Table 1: 1x1, 3x3 after its reduction, 5x5 after its reduction, 1x1 after the pool.
TABLE = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
STEM = "64@7/2 max@3/2c 64 192@3 max@3/2c"


def googlenet(window: int = 3) -> Network:
    """GoogLeNet with batch normalisation.

    Args:
        name: Name of the network.
        window: Size of the larger filters: 5 in the paper, 3 in published weights.
        se: Squeeze-and-excitation, or None.
    """
    modules: dict[str, Block] = {}
    for name, row in TABLE.items():
        if name in ("4a", "5a"):
            modules[f"pool{name[0]}"] = Filters("max@3/2c" if name == "4a" else "max@2/2c")
        modules[f"inception{name}"] = _four(*row, window=window)
    name = "googlenet" if window == 3 else f"googlenet_{window}x{window}"
    return Network(name, Filters(STEM), _stages(modules), Classifier(dropout=0.2), papers=(PAPER,))


# Ioffe and Szegedy, Figure 5: 1x1; 1x1 and 3x3; 1x1 and two 3x3; the pool and 1x1. "/2": at stride 2.
BN_TABLE = {
    "3a": ("64", "64 64@3", "64 96@3 96@3", "avg 32"),
    "3b": ("64", "64 96@3", "64 96@3 96@3", "avg 64"),
    "3c": ("128 160@3/2", "64 96@3 96@3/2", "max@3/2c"),
    "4a": ("224", "64 96@3", "96 128@3 128@3", "avg 128"),
    "4b": ("192", "96 128@3", "96 128@3 128@3", "avg 128"),
    "4c": ("160", "128 160@3", "128 160@3 160@3", "avg 128"),
    "4d": ("96", "128 192@3", "160 192@3 192@3", "avg 128"),
    "4e": ("128 192@3/2", "192 256@3 256@3/2", "max@3/2c"),
    "5a": ("352", "192 320@3", "160 224@3 224@3", "avg 128"),
    "5b": ("352", "192 320@3", "192 224@3 224@3", "max 128"),
}
BN_ERRORS = {False: (25.38, 7.89), True: (24.23, 7.14)}
"""SENet, Table 2: top-1 and top-5 error of its re-implementation, and with SE."""


def bn_inception(se: SE | None = None) -> Network:
    """Inception with batch normalisation: two 3x3 instead of 5x5, reductions inside the modules."""
    stages = _stages(
        {
            f"inception{name}": (Reduction if any("/2" in row for row in rows) else Inception)(
                rows, include_pad=True, se=se
            )
            for name, rows in BN_TABLE.items()
        }
    )
    top1, top5 = BN_ERRORS[se is not None]
    return Network(
        "sebn_inception" if se else "bn_inception",
        Filters(STEM),
        stages,
        Classifier(),
        papers=(BN_PAPER, SE_PAPER) if se else (BN_PAPER,),
        results=(Result("ImageNet", "top-1 error", top1), Result("ImageNet", "top-5 error", top5)),
    )


register("GoogLeNet", "googlenet", googlenet)
register("GoogLeNet", "googlenet_5x5", lambda: googlenet(5))
register("Inception", "bn_inception", bn_inception)
register("SE-Inception", "sebn_inception", lambda: bn_inception(SE(16)))

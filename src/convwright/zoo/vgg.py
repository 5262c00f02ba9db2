"""VGG (Simonyan and Zisserman 2015): 3x3 convolutions, pooling that halves the feature maps, three linear layers."""

from dataclasses import dataclass
from typing import ClassVar, Self

from convwright.arch.blocks import SE, Block
from convwright.arch.layers import Act, Conv, Dropout, GlobalPool, Identity, Layer, Linear, Norm, Pool, Seq
from convwright.arch.network import Network, Paper, Stage
from convwright.arch.registry import register

PAPER = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition", "Simonyan and Zisserman", 2015, "1409.1556"
)


@dataclass(frozen=True, repr=False, slots=True)
class PlainConv(Block):
    """3x3 convolution, with bias, and ReLU; normalised or not. Squeeze-and-excitation gates its output.

    Without a shortcut, the identity placement does not exist, and the pre placement gates the input.
    """

    out: int
    norm: bool = False
    se: SE | None = None
    widths: ClassVar[tuple[str, ...]] = ("out",)

    def layers(self, channels: int) -> Layer:
        """Filter, normalise, activate, gate."""
        body = Seq(Conv(self.out, 3, bias=True), Norm() if self.norm else Identity(), Act())
        if self.se is None or self.se.placement == "identity":
            return body
        if self.se.placement == "pre":
            return Seq(self.se.layers(channels, channels), body)
        return Seq(body, self.se.layers(self.out, channels))


@dataclass(frozen=True, repr=False, slots=True)
class MaxPool(Block):
    """2x2 maximum pool that halves height and width."""

    stride: int = 2
    repeatable: ClassVar[bool] = False
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Return the pool, or the identity where its stride has been removed."""
        return Pool("max", 2, self.stride) if self.stride > 1 else Identity()


@dataclass(frozen=True, repr=False, slots=True)
class ThreeLinear(Block):
    """Average pooling to `size` x `size` (which changes nothing at the paper's 224 pixels), and three linear layers."""

    hidden: int = 4096
    size: int = 7
    dropout: float = 0.5
    repeatable: ClassVar[bool] = False
    widths: ClassVar[tuple[str, ...]] = ("hidden",)

    def layers(self, channels: int) -> Layer:
        """Return the layers from feature maps to one score per class."""
        dropout = Dropout(self.dropout) if self.dropout else Identity()
        return Seq(
            GlobalPool(self.size),
            *(Linear(self.hidden), Act(), dropout) * 2,
            Linear(),
        )


# Table 1, configurations A, B, D and E: convolutions per stage, each stage twice as wide, up to 512.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def vgg(depth: int, *, norm: bool) -> Network:
    """A five-stage network for 224-pixel images; the first convolution is the stem."""
    stages: list[Stage] = []
    for index, (repeats, width) in enumerate(zip(DEPTHS[depth], WIDTHS, strict=True), start=1):
        if count := repeats - (index == 1):
            stages.append(Stage(f"stage{index}", PlainConv(width, norm), count))
        stages.append(Stage(f"pool{index}", MaxPool()))
    name = f"vgg{depth}_bn" if norm else f"vgg{depth}"
    return Network(name, PlainStem(WIDTHS[0], norm), tuple(stages), ThreeLinear(), papers=(PAPER,))


@dataclass(frozen=True, repr=False, slots=True)
class PlainStem(PlainConv):
    """The first convolution, which scaling depth does not repeat."""

    repeatable: ClassVar[bool] = False

    def without_first_stride(self) -> Self | None:
        """Return None: it has no stride."""
        return None


def _register() -> None:
    for depth in DEPTHS:
        for norm in (False, True):
            name = f"vgg{depth}_bn" if norm else f"vgg{depth}"
            register("VGG", name, lambda d=depth, n=norm: vgg(d, norm=n))  # type: ignore[misc]


_register()

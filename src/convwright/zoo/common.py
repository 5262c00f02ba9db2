"""Blocks that several papers share: stems and the classifier."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from convwright.arch.blocks import Block
from convwright.arch.layers import (
    Act,
    Activation,
    Conv,
    Dropout,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    Pool,
    Seq,
)
from convwright.arch.rounding import round_width

Halving = Literal["max", "max-ceil"]
"""A 3x3 maximum pool of stride 2: torch's, padded, or Caffe's, whose windows reach beyond the edge."""


def _halved(pool: Halving | None) -> Layer:
    match pool:
        case None:
            return Identity()
        case "max":
            return Pool("max", 3, 2, padding=1)
        case _:
            return Pool("max", 3, 2, ceil=True)


@dataclass(frozen=True, repr=False, slots=True)
class Stem(Block):
    """Conv-norm-act, then for ImageNet's large images a 3x3 maximum pool of stride 2.

    `act` None leaves normalisation and activation to a pre-activation block that follows.
    """

    out: int
    kernel: int = 3
    stride: int = 1
    pool: Halving | None = None
    act: Activation | None = "relu"
    eps: float = 1e-5
    momentum: float = 0.1
    same: bool = False
    repeatable: ClassVar[bool] = False
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Return convolution, normalisation, activation and pool, as the fields have them."""
        normed = () if self.act is None else (Norm(self.eps, self.momentum), Act(self.act))
        return Seq(Conv(self.out, self.kernel, self.stride, same=self.same), *normed, _halved(self.pool))

    def without_first_stride(self) -> Self | None:
        """Drop the convolution's stride, and with it a kernel larger than 3; then the pool."""
        if self.stride > 1:
            return self._with({"stride": 1, "kernel": min(self.kernel, 3)})
        return self._with({"pool": None}) if self.pool else None


@dataclass(frozen=True, repr=False, slots=True)
class ThreeStem(Block):
    """Three 3x3 convolutions instead of one 7x7, then a 3x3 maximum pool of stride 2.

    Args:
        out: Channels of the third convolution.
        inside: Channels of the first two; half of `out` by default.
        stride: Stride of the first convolution.
        pool: Kind of the pool; None for no pool.
    """

    out: int
    inside: int | None = None
    stride: int = 2
    pool: Halving | None = "max-ceil"
    repeatable: ClassVar[bool] = False
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Return the convolutions and the pool."""
        inside = self.inside or self.out // 2
        return Seq(
            *(Conv(inside, 3, self.stride), Norm(), Act()),
            *(Conv(inside, 3), Norm(), Act()),
            *(Conv(self.out, 3), Norm(), Act()),
            _halved(self.pool),
        )

    def widened(self, factor: float) -> Self:
        """Scale the channels of all three convolutions."""
        inside = None if self.inside is None else round_width(self.inside, factor)
        return self._with({"out": round_width(self.out, factor), "inside": inside})

    def without_first_stride(self) -> Self | None:
        """Drop the convolution's stride; then the pool."""
        if self.stride > 1:
            return self._with({"stride": 1})
        return self._with({"pool": None}) if self.pool else None


@dataclass(frozen=True, repr=False, slots=True)
class Classifier(Block):
    """Global average pooling, dropout and one linear layer: the head of every network since GoogLeNet.

    Args:
        hidden: Channels of a 1x1 convolution before the pooling (EfficientNet); 0 for none.
        norm: Whether the input is normalised and activated first, as in pre-activation networks (DenseNet).
        act: Activation function.
        dropout: Rate of dropout before the linear layer.
        eps: Epsilon of the normalisation.
        momentum: Momentum of the normalisation.
    """

    hidden: int = 0
    norm: bool = False
    act: Activation = "relu"
    dropout: float = 0.0
    eps: float = 1e-5
    momentum: float = 0.1
    repeatable: ClassVar[bool] = False
    widths: ClassVar[tuple[str, ...]] = ("hidden",)

    def layers(self, channels: int) -> Layer:
        """Return the layers from feature maps to one score per class."""
        conv = (Conv(self.hidden),) if self.hidden else ()
        normed = (Norm(self.eps, self.momentum), Act(self.act)) if self.hidden or self.norm else ()
        dropout = Dropout(self.dropout) if self.dropout else Identity()
        return Seq(*conv, *normed, GlobalPool(), dropout, Linear())

    def widened(self, factor: float) -> Self:
        """Scale the channels of the 1x1 convolution, if there is one; the number of classes is kept."""
        return super(Classifier, self).widened(factor) if self.hidden else self

"""Blocks: one row of a paper's table.

A block has a layer graph and names the fields that are widths and strides, so that operators work on every family.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from convwright.arch.layers import Act, Activation, Add, Concat, Conv, Gate, GlobalPool, Identity, Layer, Seq
from convwright.arch.node import Node, brief, check_size
from convwright.arch.rounding import round_width
from convwright.errors import NetworkError

Placement = Literal["standard", "pre", "post", "identity"]
PLACEMENTS: tuple[str, ...] = Placement.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, repr=False, slots=True)
class SE(Node):
    """A squeeze-and-excitation block (SENet, section 3) and its place in the block that contains it (section 6.5).

    Args:
        reduction: Reduction ratio r: the squeezed width is C / r.
        placement: Place in the block.
        least: Smallest squeezed width.
        act: Activation function of the squeezed width.
        gate: Activation function of the gate.
        of: Whether C is the number of channels that are gated (`gated`, as in SENet) or that enter the block
            (`input`, as in EfficientNet).
    """

    reduction: float = 16
    placement: Placement = "standard"
    least: int = 8
    act: Activation = "relu"
    gate: Activation = "sigmoid"
    of: Literal["gated", "input"] = "gated"

    def __post_init__(self) -> None:
        if not isinstance(self.reduction, int | float) or not 1 <= self.reduction <= 1e6:
            raise NetworkError(f"a reduction ratio must be a number from 1 to 1e6, not {brief(self.reduction)}")
        if self.placement not in PLACEMENTS:
            known = ", ".join(PLACEMENTS)
            raise NetworkError(f"unknown placement {self.placement!r} of squeeze-and-excitation; known: {known}")
        check_size("the least squeezed width of squeeze-and-excitation", self.least)
        if self.of not in ("gated", "input"):
            raise NetworkError(f"a reduction ratio counts of 'gated' or 'input' channels, not {self.of!r}")

    def layers(self, channels: int, entering: int) -> Layer:
        """Return squeeze, excitation and gate.

        Args:
            channels: Channels that are gated.
            entering: Channels that enter the block.
        """
        reference = entering if self.of == "input" else channels
        squeezed = max(self.least, int(reference // self.reduction))
        return Gate(GlobalPool(), Conv(squeezed, bias=True), Act(self.act), Conv(channels, bias=True), Act(self.gate))


class Block(Node):
    """One building block; frozen dataclass fields are its hyper-parameters."""

    __slots__ = ()
    repeatable: ClassVar[bool] = True
    """False for blocks that stand once between stages (transitions, reductions): scaling depth does not repeat them."""
    widths: ClassVar[tuple[str, ...]] = ()
    """Fields that hold a number of channels, or a growth rate: what width scales."""
    strides: ClassVar[tuple[str, ...]] = ()
    """Fields that hold a stride, in the order in which data meets them."""

    def layers(self, channels: int) -> Layer:
        """Return the layer graph.

        Args:
            channels: Channels of the block's input.
        """
        raise NetworkError(f"{type(self).__name__} does not define the method layers(self, channels)")

    def repeated(self) -> Self:
        """Return the block that follows this one in a stage: the same, at stride 1."""
        return self._with(dict.fromkeys(self.strides, 1))

    def widened(self, factor: float) -> Self:
        """Return the block with every width scaled and rounded (EfficientNet, section 4)."""
        return self._with({name: round_width(getattr(self, name), factor) for name in self.widths})

    def without_first_stride(self) -> Self | None:
        """Return the block with its earliest stride dropped, or None if it has none."""
        for name in self.strides:
            if getattr(self, name) > 1:
                return self._with({name: 1})
        return None

    @property
    def gateable(self) -> bool:
        """Whether the block has a place for squeeze-and-excitation."""
        return "se" in self.__dataclass_fields__

    def recalibrated(self, se: SE | None) -> Self:
        """Return the block with this squeeze-and-excitation, or with none."""
        if not self.gateable:
            raise NetworkError(f"{type(self).__name__} has no place for squeeze-and-excitation")
        return self._with({"se": se})

    def _with(self, changes: dict[str, Any]) -> Self:
        changes = {name: value for name, value in changes.items() if getattr(self, name) != value}
        return replace(self, **changes) if changes else self


def residual(
    body: Layer, shortcut: Layer, se: SE | None, channels: int, out: int, *, after: Layer | None = None
) -> Layer:
    """Add a shortcut to a body, with squeeze-and-excitation in any of its four places (SENet, section 6.5).

    Args:
        body: Layers of the residual branch.
        shortcut: Layers of the shortcut.
        se: Squeeze-and-excitation, or None.
        channels: Channels of the block's input.
        out: Channels of the block's output.
        after: Layer after the sum (ResNet's ReLU).
    """
    after = after or Identity()
    if se is None:
        return Seq(Add(body, shortcut), after)
    match se.placement:
        case "standard":
            return Seq(Add(Seq(body, se.layers(out, channels)), shortcut), after)
        case "pre":
            return Seq(Add(Seq(se.layers(channels, channels), body), shortcut), after)
        case "post":
            return Seq(Add(body, shortcut), after, se.layers(out, channels))
        case _:
            return Seq(Add(body, Seq(shortcut, se.layers(out, channels))), after)


def dense(body: Layer, growth: int, se: SE | None, channels: int) -> Layer:
    """Concatenate a body's new feature maps with its input, with squeeze-and-excitation in any of the four places.

    The standard placement gates the new maps, pre the input of the body, post all maps, identity the existing maps.

    Args:
        body: Layers that compute the new feature maps.
        growth: Number of new maps (DenseNet's growth rate).
        se: Squeeze-and-excitation, or None.
        channels: Channels of the block's input.
    """
    if se is None:
        return Concat(Identity(), body)
    match se.placement:
        case "standard":
            return Concat(Identity(), Seq(body, se.layers(growth, channels)))
        case "pre":
            return Concat(Identity(), Seq(se.layers(channels, channels), body))
        case "post":
            return Seq(Concat(Identity(), body), se.layers(channels + growth, channels))
        case _:
            return Concat(se.layers(channels, channels), body)

"""What a network does at inference, as a list of operations on numbered maps, with the weights in them.

The layer graph says what a network is; a program says what must be computed, one step after the other. It is what
`convwright.exporting.folding` makes quicker, and what the writers of exported files spell out.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from convwright.arch.layers import Activation
from convwright.arch.shapes import Shape

Value = int
"""The number of a map (or several, N x C x H x W) that one operation makes and others read."""
Pads = tuple[int, int, int, int]
"""Pixels added above, on the left, below and on the right."""


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: the layer's path that it comes from, what it reads, and the number of what it makes."""

    path: str
    inputs: tuple[Value, ...]
    output: Value

    def reading(self, *inputs: Value) -> Self:
        """Return the operation with other inputs."""
        return replace(self, inputs=inputs)


@dataclass(frozen=True, eq=False)
class Convolve(Op):
    """Convolution with a bias (zeros where the layer had none)."""

    weight: np.ndarray
    """out x in / groups x height x width."""
    bias: np.ndarray
    stride: tuple[int, int]
    pads: Pads
    dilation: int = 1
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Affine(Op):
    """Each channel times a factor plus a shift: a normalisation that could not be folded into its neighbours."""

    factor: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class Activate(Op):
    """An element-wise function."""

    function: Activation


@dataclass(frozen=True, eq=False)
class Clamp(Op):
    """Each channel kept between two bounds: a normalisation and ReLU whose factors the next convolution has taken."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Window(Op):
    """Maximum or mean over windows; `counted`: a mean counts the zeros of the padding."""

    function: str
    kernel: int
    stride: int
    pads: Pads
    counted: bool


@dataclass(frozen=True, eq=False)
class Mean(Op):
    """The mean of each channel's map: C x H x W to C x 1 x 1."""


@dataclass(frozen=True, eq=False)
class Connect(Op):
    """Fully connected layer over all values of an image: C x H x W to out x 1 x 1."""

    weight: np.ndarray
    """out x (C * H * W)."""
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Sum(Op):
    """The sum of two or more values of one shape."""


@dataclass(frozen=True, eq=False)
class Join(Op):
    """Channels side by side."""


@dataclass(frozen=True, eq=False)
class Multiply(Op):
    """A map times one factor a channel: the gate of squeeze-and-excitation."""


@dataclass(frozen=True, eq=False)
class AddChannels(Op):
    """The input with so many zero channels after its own."""

    extra: int


@dataclass(frozen=True)
class Program:
    """Operations in the order in which they run. Value 0 is the batch of images, `output` the logits."""

    name: str
    ops: tuple[Op, ...]
    shapes: dict[Value, Shape] = field(repr=False)
    """Of each value, for one image."""
    output: Value

    @property
    def input_shape(self) -> Shape:
        """Channels, height and width of the images."""
        return self.shapes[0]

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return self.shapes[self.output][0]

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return sum(macs_of(op, self.shapes) for op in self.ops)

    def readers(self) -> Counter[Value]:
        """Count how often each value is read; the output once more."""
        return Counter([self.output, *(value for op in self.ops for value in op.inputs)])

    def makers(self) -> dict[Value, Op]:
        """Return the operation that makes each value."""
        return {op.output: op for op in self.ops}


def macs_of(op: Op, shapes: dict[Value, Shape]) -> int:
    """Multiply-adds of one operation for one image."""
    if isinstance(op, Convolve):
        _, height, width = shapes[op.output]
        return op.weight.size * height * width
    return op.weight.size if isinstance(op, Connect) else 0


def bytes_of(op: Op, shapes: dict[Value, Shape], element: int = 4) -> tuple[int, int]:
    """Bytes that one operation must move: those of its weights, and those of its maps for one image."""
    arrays = [value for value in vars(op).values() if isinstance(value, np.ndarray)]
    maps = sum(int(np.prod(shapes[value])) for value in (*op.inputs, op.output))
    return element * sum(array.size for array in arrays), element * maps

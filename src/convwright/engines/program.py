"""A network at inference: a list of operations on numbered feature maps, with the weights in them.

The layer graph describes a network; a program lists its computation step by step. `convwright.engines.folding`
simplifies programs, and the writers of exported files convert them into their formats.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from convwright.arch.layers import Activation
from convwright.arch.shapes import Shape

Value = int
"""Number of an array, N x C x H x W, that one operation returns and others read."""
Pads = tuple[int, int, int, int]
"""Padding in pixels: above, left, below, right."""


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: the path of its layer, the numbers of its inputs, and the number of its result."""

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
    """Each channel times a factor plus a shift: a normalisation that is not folded into its neighbours."""

    factor: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class Activate(Op):
    """An element-wise function."""

    function: Activation


@dataclass(frozen=True, eq=False)
class Clamp(Op):
    """Each channel clamped to two bounds: a normalisation and ReLU whose factors are in the next convolution."""

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
    """The concatenation of channels."""


@dataclass(frozen=True, eq=False)
class Multiply(Op):
    """A map times one factor a channel: the gate of squeeze-and-excitation."""


@dataclass(frozen=True, eq=False)
class AddChannels(Op):
    """The input with zero channels appended."""

    extra: int


@dataclass(frozen=True)
class Program:
    """Operations in the order in which they run. Value 0 is the batch of images, `output` the logits."""

    name: str
    ops: tuple[Op, ...]
    shapes: dict[Value, Shape] = field(repr=False)
    """Shape of each value, for one image."""
    output: Value

    @property
    def input_shape(self) -> Shape:
        """Channels, height and width of the images."""
        return self.shapes[0]

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.shapes[self.output][0]

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return sum(macs_of(op, self.shapes) for op in self.ops)

    def readers(self) -> Counter[Value]:
        """Return how often each value is read; the output counts as read once more."""
        return Counter([self.output, *(value for op in self.ops for value in op.inputs)])

    def makers(self) -> dict[Value, Op]:
        """Return the operation of each value."""
        return {op.output: op for op in self.ops}


def macs_of(op: Op, shapes: dict[Value, Shape]) -> int:
    """Return the multiply-adds of one operation for one image."""
    if isinstance(op, Convolve):
        _, height, width = shapes[op.output]
        return op.weight.size * height * width
    return op.weight.size if isinstance(op, Connect) else 0


def bytes_of(op: Op, shapes: dict[Value, Shape], element: int = 4) -> tuple[int, int]:
    """Return the bytes that one operation moves: those of its weights, and those of its maps for one image."""
    arrays = [value for value in vars(op).values() if isinstance(value, np.ndarray)]
    maps = sum(int(np.prod(shapes[value])) for value in (*op.inputs, op.output))
    return element * sum(array.size for array in arrays), element * maps

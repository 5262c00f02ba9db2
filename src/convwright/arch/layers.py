"""The layer graph: primitives and combinators from which every block of every network is made.

Input channels are never written down: they follow from the shape of the input. A layer is only a description;
interpreters (`cost`, `convwright.modules.build`, `diagram`) compute its cost, its torch module or its drawing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from convwright.arch.node import Node, check_size
from convwright.errors import NetworkError

Size = int | tuple[int, int]
"""One number for height and width, or (height, width)."""

Activation = Literal["relu", "relu6", "silu", "sigmoid", "hardswish", "hardsigmoid", "gelu", "tanh"]
ACTIVATIONS: tuple[str, ...] = Activation.__args__  # type: ignore[attr-defined]


class Layer(Node):
    """A node of the layer graph; a function from feature maps to feature maps."""

    __slots__ = ()
    label: ClassVar[str] = "layer"

    @property
    def kind(self) -> str:
        """The word that names this layer in paths: ``conv``, ``norm``, ``relu``, ..."""
        return self.label


# Primitives


@dataclass(frozen=True, repr=False, slots=True)
class Conv(Layer):
    """Convolution to `out` channels.

    Args:
        out: Output channels.
        kernel: Height and width of the filters.
        stride: Stride.
        groups: Groups of channels.
        dilation: Dilation.
        padding: Zeros on each side; None keeps the size at stride 1 (kernel // 2 at dilation 1).
        bias: Whether a bias is added.
        same: Pad as TensorFlow does: the output size is the input size / stride, rounded up, and the odd pixel of
            padding is below and on the right.
    """

    out: int
    kernel: Size = 1
    stride: Size = 1
    groups: int = 1
    dilation: int = 1
    padding: Size | None = None
    bias: bool = False
    same: bool = False
    label: ClassVar[str] = "conv"

    def __post_init__(self) -> None:
        for name in ("out", "groups", "dilation"):
            check_size(f"{name} of a convolution", getattr(self, name))
        if self.out % self.groups:
            raise NetworkError(f"a convolution to {self.out} channels cannot have {self.groups} groups")
        for name in ("kernel", "stride"):
            for size in _both(getattr(self, name)):
                check_size(f"{name} of a convolution", size)
        for size in () if self.padding is None else _both(self.padding):
            check_size("padding of a convolution", size, least=0)
        if self.same and self.padding is not None:
            raise NetworkError(f"padding is either 'same' or given: {self!r}")


@dataclass(frozen=True, repr=False, slots=True)
class Norm(Layer):
    """Batch normalisation. `momentum` is torch's: the share of the newest batch in the running statistics."""

    eps: float = 1e-5
    momentum: float = 0.1
    label: ClassVar[str] = "norm"

    def __post_init__(self) -> None:
        if not self.eps >= 0 or not 0 <= self.momentum <= 1:
            raise NetworkError(f"a normalisation's eps must be 0 or more, and its momentum from 0 to 1: {self!r}")


@dataclass(frozen=True, repr=False, slots=True)
class Act(Layer):
    """An element-wise activation function."""

    function: Activation = "relu"

    def __post_init__(self) -> None:
        if self.function not in ACTIVATIONS:
            raise NetworkError(f"unknown activation {self.function!r}; known are {', '.join(ACTIVATIONS)}")

    @property
    def kind(self) -> str:
        """The function's own name."""
        return self.function


@dataclass(frozen=True, repr=False, slots=True)
class Pool(Layer):
    """Maximum or average over windows.

    Args:
        function: `max` or `avg`.
        kernel: Height and width of the windows.
        stride: Stride.
        padding: Padding on each side.
        ceil: Keep windows that reach beyond the edge, as Caffe did.
        include_pad: Count the zeros of the padding in averages (torch's default; TensorFlow leaves them out).
    """

    function: Literal["max", "avg"]
    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False
    include_pad: bool = True
    label: ClassVar[str] = "pool"

    def __post_init__(self) -> None:
        for name in ("kernel", "stride"):
            check_size(f"{name} of a pool", getattr(self, name))
        check_size("padding of a pool", self.padding, least=0)
        if not 0 <= self.padding <= self.kernel // 2:
            raise NetworkError(f"padding is at most half of a pool's window: {self!r}")


@dataclass(frozen=True, repr=False, slots=True)
class GlobalPool(Layer):
    """Average of each channel over its whole map: C x H x W to C x 1 x 1 (SENet's squeeze).

    Args:
        size: Height and width of the output: averages over as many parts of the map (torch's adaptive pooling).
    """

    size: int = 1
    label: ClassVar[str] = "pool"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise NetworkError(f"a map is pooled to 1 x 1 or more, not {self.size} x {self.size}")


@dataclass(frozen=True, repr=False, slots=True)
class Dropout(Layer):
    """Zero activations at random while training."""

    rate: float
    label: ClassVar[str] = "dropout"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise NetworkError(f"a dropout rate is from 0 to under 1, not {self.rate}")


@dataclass(frozen=True, repr=False, slots=True)
class Linear(Layer):
    """Fully connected layer over the flattened input; `out` None means one output a class."""

    out: int | None = None
    bias: bool = True
    label: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        if self.out is not None:
            check_size("out of a linear layer", self.out)


@dataclass(frozen=True, repr=False, slots=True)
class PadChannels(Layer):
    """Append zero channels until there are `out` (the parameter-free shortcut of ResNet, option A)."""

    out: int
    label: ClassVar[str] = "pad"

    def __post_init__(self) -> None:
        check_size("out of appended channels", self.out)


@dataclass(frozen=True, repr=False, slots=True)
class Scale(Layer):
    """The input times a constant."""

    factor: float
    label: ClassVar[str] = "times"


@dataclass(frozen=True, repr=False, slots=True)
class Identity(Layer):
    """The input, unchanged."""

    label: ClassVar[str] = "identity"


PRIMITIVES = frozenset((Conv, Norm, Act, Pool, GlobalPool, Dropout, Linear, PadChannels, Scale, Identity))
"""The layers that are not made of layers; every interpreter has a rule for each."""

# Combinators


@dataclass(frozen=True, repr=False, init=False, slots=True)
class Combinator(Layer):
    """A layer made of layers."""

    parts: tuple[Layer, ...]
    least: ClassVar[int] = 0
    """Smallest number of parts."""

    def __init__(self, *parts: Layer) -> None:
        object.__setattr__(self, "parts", parts)
        self.__post_init__()

    def __post_init__(self) -> None:
        if len(self.parts) < self.least:
            raise NetworkError(f"{type(self).__name__} joins {self.least} branches or more, not {len(self.parts)}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each part, unique among them."""
        return numbered([part.kind for part in self.parts])


@dataclass(frozen=True, repr=False, init=False, slots=True)
class Seq(Combinator):
    """One layer after the other. Nested sequences are spliced, and identities are left out."""

    label: ClassVar[str] = "seq"

    def __init__(self, *parts: Layer) -> None:
        flat: list[Layer] = []
        for part in parts:
            if isinstance(part, Seq):
                flat.extend(part.parts)
            elif not isinstance(part, Identity):
                flat.append(part)
        object.__setattr__(self, "parts", tuple(flat))


@dataclass(frozen=True, repr=False, init=False, slots=True)
class Add(Combinator):
    """The sum of all branches, each fed the same input (a residual connection: body first, then shortcut)."""

    label: ClassVar[str] = "add"
    least: ClassVar[int] = 2

    @property
    def names(self) -> tuple[str, ...]:
        """`body` and `shortcut`, the papers' words, for two branches."""
        return ("body", "shortcut") if len(self.parts) == 2 else branch_names(self.parts)


@dataclass(frozen=True, repr=False, init=False, slots=True)
class Concat(Combinator):
    """Concatenation of all branches' channels, each branch fed the same input."""

    label: ClassVar[str] = "concat"
    least: ClassVar[int] = 2

    @property
    def names(self) -> tuple[str, ...]:
        """`identity` (or `se`, where it is gated) and `new` for a dense layer, else `branch1`, `branch2`, ..."""
        if len(self.parts) == 2 and isinstance(self.parts[0], Identity | Gate):
            return (self.parts[0].kind, "new")
        return branch_names(self.parts)


@dataclass(frozen=True, repr=False, init=False, slots=True)
class Gate(Combinator):
    """The input, multiplied by one factor a channel, which its parts (in sequence) compute from the input."""

    label: ClassVar[str] = "se"


def _both(size: Size) -> tuple[int, int]:
    """Return height and width of a size."""
    return size if isinstance(size, tuple) else (size, size)


def branch_names(parts: Sequence[Layer]) -> tuple[str, ...]:
    """Return `branch1`, `branch2`, ..."""
    return tuple(f"branch{index}" for index in range(1, len(parts) + 1))


def numbered(kinds: Sequence[str]) -> tuple[str, ...]:
    """Make names unique by numbering those that occur more than once: conv1, norm, conv2."""
    occurrences, seen = Counter(kinds), Counter[str]()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(f"{kind}{seen[kind]}" if occurrences[kind] > 1 else kind)
    return tuple(names)

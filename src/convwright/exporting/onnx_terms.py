"""Nodes of an ONNX graph written as formulas: terms that are added, multiplied and compared like numbers."""

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from convwright.extras import require_package

Number = Union["Term", float, int]


class Formulas:
    """Collects the nodes and constants of formulas.

    Args:
        prefix: Start of the names of all nodes, constants and values.
    """

    def __init__(self, prefix: str) -> None:
        self.onnx = require_package("onnx", "writing ONNX files")
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._made: dict[tuple[object, ...], str] = {}

    def value(self, name: str, kind: type[np.generic]) -> "Term":
        """Return a value that exists already, such as an input of the graph.

        Args:
            name: Name of the value.
            kind: Type of its numbers.
        """
        return Term(self, name, np.dtype(kind))

    def constant(self, values: object, kind: Any) -> "Term":
        """Return an array or a number as a term; equal ones are stored once."""
        array = np.asarray(values, kind)
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self._made:
            self._made[key] = f"{self.prefix}constant_{len(self.constants)}"
            self.constants.append(self.onnx.numpy_helper.from_array(array, self._made[key]))
        return Term(self, self._made[key], array.dtype)

    def node(
        self, kind: str, inputs: Sequence["Term"], dtype: Any = None, output: str | None = None, **attributes: Any
    ) -> "Term":
        """Add a node.

        Args:
            kind: ONNX operator.
            inputs: Its inputs.
            dtype: Type of the numbers of its output; None: that of the first input.
            output: Name of its output; None: a new name.
            attributes: Attributes of the operator.

        Returns:
            The output.
        """
        label = f"{self.prefix}{kind.lower()}_{len(self.nodes)}"
        name = output or label
        self.nodes.append(
            self.onnx.helper.make_node(kind, [term.name for term in inputs], [name], name=label, **attributes)
        )
        return Term(self, name, inputs[0].dtype if dtype is None else np.dtype(dtype))

    def join(self, parts: Sequence["Term"], axis: int = 0) -> "Term":
        """Concatenate terms along an axis."""
        return self.node("Concat", parts, axis=axis)

    def stack(self, parts: Sequence["Term"]) -> "Term":
        """Return matrices m x n as one array, parts x 1 x m x n."""
        axes = self.constant([0, 1], np.int64)
        return self.join([self.node("Unsqueeze", [part, axes]) for part in parts])

    def where(self, condition: "Term", then: Number, otherwise: Number) -> "Term":
        """Return the elements of `then` where a condition holds, else those of `otherwise`."""
        dtype = then.dtype if isinstance(then, Term) else otherwise.dtype if isinstance(otherwise, Term) else np.float64
        chosen = [one if isinstance(one, Term) else self.constant(one, dtype) for one in (then, otherwise)]
        return self.node("Where", [condition, *chosen], dtype)


class Term:
    """A value of an ONNX graph."""

    def __init__(self, to: Formulas, name: str, dtype: Any) -> None:
        self.to, self.name, self.dtype = to, name, np.dtype(dtype)

    def apply(self, kind: str, *others: Number, dtype: Any = None, **attributes: Any) -> "Term":
        """Return the result of an operator on this term and others; numbers become constants of this term's type."""
        inputs = [other if isinstance(other, Term) else self.to.constant(other, self.dtype) for other in others]
        return self.to.node(kind, [self, *inputs], dtype, **attributes)

    def __add__(self, other: Number) -> "Term":
        return self.apply("Add", other)

    def __sub__(self, other: Number) -> "Term":
        return self.apply("Sub", other)

    def __mul__(self, other: Number) -> "Term":
        return self.apply("Mul", other)

    def __truediv__(self, other: Number) -> "Term":
        return self.apply("Div", other)

    def __rsub__(self, other: float) -> "Term":
        return self.to.constant(other, self.dtype) - self

    def __rtruediv__(self, other: float) -> "Term":
        return self.to.constant(other, self.dtype) / self

    def __gt__(self, other: Number) -> "Term":
        return self.apply("Greater", other, dtype=np.bool_)

    def __lt__(self, other: Number) -> "Term":
        return self.apply("Less", other, dtype=np.bool_)

    def equals(self, other: Number) -> "Term":
        """Return where two terms are equal."""
        return self.apply("Equal", other, dtype=np.bool_)

    def __getitem__(self, index: int) -> "Term":
        """Return one element of a one-dimensional term, as a term of one element."""
        ends = [self.to.constant([end], np.int64) for end in (index, index + 1)]
        return self.to.node("Slice", [self, *ends])

    def cast(self, kind: Any) -> "Term":
        """Return the values as another type; floating-point numbers are cut off towards zero."""
        dtype = np.dtype(kind)
        if dtype == self.dtype:
            return self
        return self.to.node("Cast", [self], dtype, to=self.to.onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def floor(self) -> "Term":
        """Round down."""
        return self.apply("Floor")

    def abs(self) -> "Term":
        """Return absolute values."""
        return self.apply("Abs")

    def least(self, other: Number) -> "Term":
        """Return the smaller of two terms."""
        return self.apply("Min", other)

    def largest(self, other: Number) -> "Term":
        """Return the larger of two terms."""
        return self.apply("Max", other)

    def clip(self, low: float, high: float) -> "Term":
        """Return values within two bounds."""
        return self.apply("Clip", low, high)

    def matmul(self, other: "Term") -> "Term":
        """Return the matrix product."""
        return self.apply("MatMul", other)

    def transpose(self, *order: int) -> "Term":
        """Return the axes in another order."""
        return self.apply("Transpose", perm=list(order))

    def reshape(self, shape: "Term | Sequence[int]") -> "Term":
        """Return the values in another shape; -1 stands for the size that follows from the others."""
        sizes = shape if isinstance(shape, Term) else self.to.constant(shape, np.int64)
        return self.to.node("Reshape", [self, sizes])

    def sum(self, axes: Sequence[int], *, keep: bool) -> "Term":
        """Return sums over axes.

        Args:
            axes: The axes.
            keep: Whether summed axes stay, with size 1.
        """
        return self.to.node("ReduceSum", [self, self.to.constant(axes, np.int64)], keepdims=int(keep))

    def part(self, starts: "Term", ends: "Term", axes: Sequence[int]) -> "Term":
        """Return a part of an array.

        Args:
            starts: First index of each axis, int64.
            ends: End of each axis, int64; not part of the result.
            axes: The axes.
        """
        return self.to.node("Slice", [self, starts, ends, self.to.constant(axes, np.int64)])

    def padded(self, pads: "Term", value: float) -> "Term":
        """Return an array with borders of one value; `pads` as in ONNX: all begins, then all ends."""
        return self.to.node("Pad", [self, pads, self.to.constant(value, self.dtype)])

    def numbers_below(self) -> "Term":
        """Return 0, 1, 2 ... below this term, which has one element."""
        scalar = self.reshape([])
        return self.to.node("Range", [self.to.constant(0, self.dtype), scalar, self.to.constant(1, self.dtype)])

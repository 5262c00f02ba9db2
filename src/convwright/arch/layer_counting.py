"""The cost of each layer of a layer graph, counted in the order of execution."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from convwright.arch.layers import (
    Act,
    Add,
    Combinator,
    Concat,
    Conv,
    Dropout,
    Gate,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    PadChannels,
    Pool,
    Scale,
    Seq,
)
from convwright.arch.shapes import Shape, conv_shape, pair, pool_shape
from convwright.errors import NetworkError


class Work(NamedTuple):
    """The output shape of one primitive and its cost."""

    shape: Shape
    params: int = 0
    macs: int = 0
    elementwise: int = 0
    in_place: bool = False


Row = tuple[Layer, Shape, Shape, int, int, int, int, int]
"""A `LayerCost` without its path; paths are computed only when they are read."""


def paths(layer: Layer, path: str = "") -> Iterator[str]:
    """Yield the path of every layer that has a cost, in the order in which `LayerCounter` visits them."""
    if isinstance(layer, Combinator):
        for name, part in zip(layer.names, layer.parts, strict=True):
            yield from paths(part, _join(path, name))
        if not isinstance(layer, Seq):
            yield _join(path, "scale" if isinstance(layer, Gate) else layer.label)
    elif not isinstance(layer, Identity):
        yield path


class LayerCounter:
    """Visits a layer graph in the order of its execution and records each layer's cost."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.rows: list[Row] = []

    def visit(self, layer: Layer, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        """Return the output's shape, and whether the output is the input itself.

        Args:
            layer: The layer.
            shape: Shape of its input.
            keep: Whether something else reads the input later, so that it must not be overwritten or freed.
            held: Elements alive besides the input.
        """
        kind = type(layer)
        if (count := _WORK.get(kind)) is None:
            return _VISIT[kind](self, layer, shape, keep, held)
        work = count(layer, shape, self.classes)
        live = held + elements(shape)
        if kind is Dropout:  # does nothing at inference
            self._note(layer, shape, work, live)
            return shape, True
        if keep or not work.in_place:
            live += elements(work.shape)
        self._note(layer, shape, work, live)
        return work.shape, False

    def _identity(self, layer: Layer, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        return shape, True

    def _sequence(self, seq: Combinator, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        same = True
        for part in seq.parts:
            before = shape
            shape, part_same = self.visit(part, shape, keep, held)
            if not part_same:
                same = False
                if keep:  # from here on the input only waits for its other reader
                    held, keep = held + elements(before), False
        return shape, same

    def _concat(self, join: Concat, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        outputs: list[Shape] = []
        made, uses_input = 0, False
        for index, part in enumerate(join.parts):
            kept = keep or uses_input or index < len(join.parts) - 1
            output, same = self.visit(part, shape, kept, held + made)
            outputs.append(output)
            uses_input |= same
            made += 0 if same else elements(output)
        output = _concatenated(outputs)
        live = held + made + (elements(shape) if keep or uses_input else 0) + elements(output)
        self._note(join, shape, Work(output), live)
        return output, False

    def _sum(self, join: Add, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        """Add each branch as soon as it has run; the sum overwrites what nothing else reads."""
        outputs: list[Shape] = []
        size, total, live = elements(shape), 0, 0
        waiting = False  # the input is the sum so far: only identities have been met
        for index, part in enumerate(join.parts):
            more = index < len(join.parts) - 1
            output, same = self.visit(part, shape, keep or more or waiting, held + total)
            outputs.append(output)
            if index:
                new = 0 if same else elements(output)
                if not (total or new):  # the input added to itself
                    new = elements(output) if keep or more else 0
                reads_input = keep or more or same or waiting
                live = max(live, held + total + new + (size if reads_input else 0))
                total = total or new
                waiting = waiting and not total
            elif same:
                waiting = True
            else:
                total = elements(output)
        output = _same(outputs)
        self._note(join, shape, Work(output, elementwise=(len(outputs) - 1) * elements(output)), live)
        return output, False

    def _gate(self, gate: Gate, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        factors, _ = self._sequence(gate, shape, True, held)
        if factors != (shape[0], 1, 1):
            raise NetworkError(f"a gate on {shape[0]} channels needs as many factors, not {factors}")
        size = elements(shape)
        live = held + shape[0] + size * (2 if keep else 1)
        self._note(gate, shape, Work(shape, elementwise=size), live)
        return shape, False

    def _note(self, layer: Layer, shape: Shape, work: Work, live: int) -> None:
        output, params, macs, elementwise, _ = work
        kind = type(layer)
        activations = elements(output) if kind is Conv or kind is Linear else 0
        self.rows.append((layer, shape, output, params, macs, elementwise, activations, live))


# What each combinator does, and each primitive below: found by type, which is faster than matching.
_VISIT: dict[type[Layer], Callable[[LayerCounter, Any, Shape, bool, int], tuple[Shape, bool]]] = {
    Identity: LayerCounter._identity,
    Seq: LayerCounter._sequence,
    Add: LayerCounter._sum,
    Concat: LayerCounter._concat,
    Gate: LayerCounter._gate,
}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def elements(shape: Shape) -> int:
    """Return the number of elements of a shape."""
    return shape[0] * shape[1] * shape[2]


def _same(shapes: list[Shape]) -> Shape:
    if any(shape != shapes[0] for shape in shapes):
        raise NetworkError(f"branches of a sum differ in shape: {', '.join(map(str, shapes))}")
    return shapes[0]


def _concatenated(shapes: list[Shape]) -> Shape:
    _, height, width = shapes[0]
    if any(shape[1:] != (height, width) for shape in shapes):
        raise NetworkError(f"branches to concatenate differ in size: {', '.join(map(str, shapes))}")
    return (sum(shape[0] for shape in shapes), height, width)


def _conv(conv: Conv, shape: Shape, _: int) -> Work:
    output = conv_shape(conv, shape)
    height, width = pair(conv.kernel)
    weights = conv.out * (shape[0] // conv.groups) * height * width
    return Work(output, weights + (conv.out if conv.bias else 0), weights * output[1] * output[2])


def _linear(linear: Linear, shape: Shape, classes: int) -> Work:
    out = classes if linear.out is None else linear.out
    weights = elements(shape) * out
    return Work((out, 1, 1), weights + (out if linear.bias else 0), weights)


def _pool(pool: Pool, shape: Shape, _: int) -> Work:
    output = pool_shape(pool, shape)
    return Work(output, elementwise=elements(output) * pool.kernel**2)


def _pad(pad: PadChannels, shape: Shape, _: int) -> Work:
    if pad.out < shape[0]:
        raise NetworkError(f"{shape[0]} channels cannot be padded to {pad.out}")
    return Work((pad.out, shape[1], shape[2]))


_WORK: dict[type[Layer], Callable[[Any, Shape, int], Work]] = {
    Conv: _conv,
    Linear: _linear,
    Pool: _pool,
    PadChannels: _pad,
    Norm: lambda _, shape, __: Work(shape, params=2 * shape[0], elementwise=elements(shape), in_place=True),
    Act: lambda _, shape, __: Work(shape, elementwise=elements(shape), in_place=True),
    Scale: lambda _, shape, __: Work(shape, elementwise=elements(shape), in_place=True),
    GlobalPool: lambda pool, shape, _: Work((shape[0], pool.size, pool.size), elementwise=elements(shape)),
    Dropout: lambda _, shape, __: Work(shape),
}

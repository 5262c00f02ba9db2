"""The cost of a network, computed from its layer graph: parameters, multiply-adds, activations, memory.

MACs are multiply-adds of convolutions and linear layers (the papers call them FLOPs), biases not counted.
Activations are the output elements of convolutions and linear layers (as in Radosavovic et al. 2020).
Element-wise and pooling work is counted apart, as operations: one per element for normalisations,
activation functions, sums and gates, and one per element read for pools.

Peak memory is that of inference on one image: every tensor lives from its computation to its last use,
element-wise layers write in place when nothing else reads their input, and branches run in the order written.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from convwright.arch.block_checks import layers_of
from convwright.arch.blocks import Block
from convwright.arch.cost_table import FLOAT32, NOTE, stage_table, totals
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
from convwright.arch.node import check_size
from convwright.arch.resolution import Resolution, check_resolution, format_resolution, format_sides, sides
from convwright.arch.shapes import Shape, TooSmallError, conv_shape, pair, pool_shape
from convwright.display.result import Block as ShownBlock
from convwright.display.result import Heading, Lines, Paragraph, Result
from convwright.errors import NetworkError
from convwright.units import human

if TYPE_CHECKING:
    from convwright.arch.network import Network


class Work(NamedTuple):
    """The output shape of one primitive and its cost."""

    shape: Shape
    params: int = 0
    macs: int = 0
    elementwise: int = 0
    in_place: bool = False


class LayerCost(NamedTuple):
    """One layer's cost. `live` is the number of elements in memory while it runs, weights not counted."""

    path: str
    layer: Layer
    input: Shape
    output: Shape
    params: int
    macs: int
    elementwise: int
    activations: int
    live: int


Row = tuple[Layer, Shape, Shape, int, int, int, int, int]
"""A `LayerCost` without its path; paths are computed only when they are read."""


class BlockCost(NamedTuple):
    """One block's cost, and the layer graph that it was computed from."""

    output: Shape
    params: int
    macs: int
    elementwise: int
    activations: int
    peak: int
    graph: Layer
    rows: tuple[Row, ...]

    @property
    def layers(self) -> Iterator[LayerCost]:
        """Every layer's cost in order of execution; paths are relative to the block."""
        for path, row in zip(paths(self.graph), self.rows, strict=True):
            yield LayerCost(path, *row)


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of a stem, stage or head. `peak` is in elements."""

    name: str
    blocks: tuple[tuple[str, Block, BlockCost], ...]
    input: Shape

    @property
    def output(self) -> Shape:
        """Shape (channels, height, width) of what leaves the stage."""
        return self.blocks[-1][2].output

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(cost.params for _, _, cost in self.blocks)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(cost.macs for _, _, cost in self.blocks)

    @property
    def elementwise(self) -> int:
        """Element-wise and pooling operations for one image."""
        return sum(cost.elementwise for _, _, cost in self.blocks)

    @property
    def activations(self) -> int:
        """Output elements of convolutions and linear layers for one image."""
        return sum(cost.activations for _, _, cost in self.blocks)

    @property
    def peak(self) -> int:
        """Most activation elements alive at once at inference on one image."""
        return max(cost.peak for _, _, cost in self.blocks)

    def to_dict(self) -> dict[str, object]:
        """Return the figures of the stage, and its first block."""
        return {
            "name": self.name,
            "block": repr(self.blocks[0][1]),
            "blocks": len(self.blocks),
            "input": self.input,
            "output": self.output,
            "params": self.params,
            "macs": self.macs,
            "activations": self.activations,
            "elementwise": self.elementwise,
            "peak": self.peak,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Cost(Result):
    """The cost of a network at one resolution; all figures are for one image."""

    name: str
    resolution: Resolution
    stages: tuple[StageCost, ...]
    params: int
    macs: int
    elementwise: int
    activations: int
    peak: int
    """Most activation elements alive at once at inference."""

    def __repr__(self) -> str:
        figures = f"{human(self.params)} parameters, {human(self.macs)} MACs"
        return f"<Cost of {self.name!r} at {format_sides(self.resolution)}: {figures}>"

    def to_dict(self) -> dict[str, object]:
        """Return exact numbers, in total and by stage."""
        return {
            "name": self.name,
            "resolution": self.resolution,
            "params": self.params,
            "macs": self.macs,
            "activations": self.activations,
            "elementwise": self.elementwise,
            "peak_activation_bytes": self.peak_bytes(FLOAT32),
            "weight_bytes": self.params * FLOAT32,
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def blocks(self) -> Iterable[ShownBlock]:
        """Yield a table of the stages and the totals."""
        yield Heading(self.name)
        yield stage_table(self)
        yield Lines(totals(self))
        yield Paragraph(NOTE)

    def peak_bytes(self, bytes_per_element: int = 4) -> int:
        """Peak activation memory in bytes at inference; 4 bytes an element is float32."""
        return self.peak * bytes_per_element

    def memory_bytes(self, bytes_per_element: int = 4) -> int:
        """Peak memory in bytes at inference: weights and activations."""
        return (self.peak + self.params) * bytes_per_element

    @property
    def layers(self) -> Iterator[LayerCost]:
        """Every layer's cost in order of execution, with its full path."""
        for stage in self.stages:
            for path, _, block in stage.blocks:
                for layer in block.layers:
                    yield layer._replace(path=f"{path}.{layer.path}")


def cost(
    network: "Network",
    resolution: Resolution | None = None,
    *,
    classes: int | None = None,
    channels: int | None = None,
) -> Cost:
    """Count what a network costs.

    Args:
        network: The network.
        resolution: Side of square images in pixels, or (height, width); the network's own by default.
        classes: Number of classes; the network's own by default.
        channels: Number of input channels; the network's own by default.

    Raises:
        NetworkError: A number is below 1, or the resolution is too small for the network.
    """
    resolution = network.resolution if resolution is None else resolution
    classes = network.classes if classes is None else classes
    shape: Shape = (network.channels if channels is None else channels, *sides(resolution))
    check_resolution(f"{network.name}: resolution", resolution)
    for name, value in (("channels", shape[0]), ("classes", classes)):
        check_size(f"{network.name}: {name}", value)
    stages: list[StageCost] = []
    blocks: list[tuple[str, Block, BlockCost]] = []
    before, current = shape, "stem"
    for stage, path, block in network.blocks():
        if stage != current:
            stages.append(StageCost(current, tuple(blocks), before))
            before, current, blocks = shape, stage, []
        try:
            block_cost = cost_of_block(block, shape, classes)
        except TooSmallError as error:
            raise NetworkError(
                f"{network.name}: a resolution of {format_resolution(resolution)} is too small: at {path}, {error}; "
                f"take a larger one, or drop early strides with |fit:{format_resolution(resolution)}"
            ) from None
        except NetworkError as error:
            raise NetworkError(f"{network.name}: at {path}: {error}") from None
        blocks.append((path, block, block_cost))
        shape = block_cost.output
    stages.append(StageCost(current, tuple(blocks), before))
    every = [block_cost for stage in stages for _, _, block_cost in stage.blocks]
    return Cost(
        name=network.name,
        resolution=resolution,
        stages=tuple(stages),
        params=sum(c.params for c in every),
        macs=sum(c.macs for c in every),
        elementwise=sum(c.elementwise for c in every),
        activations=sum(c.activations for c in every),
        peak=max(c.peak for c in every),
    )


@lru_cache(maxsize=16384)
def cost_of_block(block: Block, shape: Shape, classes: int) -> BlockCost:
    """Return the cost of one block for an input shape; results are cached, since networks repeat their blocks."""
    graph = layers_of(block, shape[0])
    counter = _Counter(classes)
    output, _ = counter.visit(graph, shape, False, 0)
    rows = counter.rows
    # Transposed once, so that each column is summed in C.
    _, _, _, params, macs, elementwise, activations, live = zip(*rows, strict=True) if rows else [()] * 8
    peak = max(live, default=_size(shape))
    return BlockCost(output, sum(params), sum(macs), sum(elementwise), sum(activations), peak, graph, tuple(rows))


def paths(layer: Layer, path: str = "") -> Iterator[str]:
    """Yield the path of every layer that has a cost, in the order in which `_Counter` visits them."""
    if isinstance(layer, Combinator):
        for name, part in zip(layer.names, layer.parts, strict=True):
            yield from paths(part, _join(path, name))
        if not isinstance(layer, Seq):
            yield _join(path, "scale" if isinstance(layer, Gate) else layer.label)
    elif not isinstance(layer, Identity):
        yield path


class _Counter:
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
        live = held + _size(shape)
        if kind is Dropout:  # does nothing at inference
            self._note(layer, shape, work, live)
            return shape, True
        if keep or not work.in_place:
            live += _size(work.shape)
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
                    held, keep = held + _size(before), False
        return shape, same

    def _concat(self, join: Concat, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        outputs: list[Shape] = []
        made, uses_input = 0, False
        for index, part in enumerate(join.parts):
            kept = keep or uses_input or index < len(join.parts) - 1
            output, same = self.visit(part, shape, kept, held + made)
            outputs.append(output)
            uses_input |= same
            made += 0 if same else _size(output)
        output = _concatenated(outputs)
        live = held + made + (_size(shape) if keep or uses_input else 0) + _size(output)
        self._note(join, shape, Work(output), live)
        return output, False

    def _sum(self, join: Add, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        """Add each branch as soon as it has run; the sum overwrites what nothing else reads."""
        outputs: list[Shape] = []
        size, total, live = _size(shape), 0, 0
        waiting = False  # the input is the sum so far: only identities have been met
        for index, part in enumerate(join.parts):
            more = index < len(join.parts) - 1
            output, same = self.visit(part, shape, keep or more or waiting, held + total)
            outputs.append(output)
            if index:
                new = 0 if same else _size(output)
                if not (total or new):  # the input added to itself
                    new = _size(output) if keep or more else 0
                reads_input = keep or more or same or waiting
                live = max(live, held + total + new + (size if reads_input else 0))
                total = total or new
                waiting = waiting and not total
            elif same:
                waiting = True
            else:
                total = _size(output)
        output = _same(outputs)
        self._note(join, shape, Work(output, elementwise=(len(outputs) - 1) * _size(output)), live)
        return output, False

    def _gate(self, gate: Gate, shape: Shape, keep: bool, held: int) -> tuple[Shape, bool]:
        factors, _ = self._sequence(gate, shape, True, held)
        if factors != (shape[0], 1, 1):
            raise NetworkError(f"a gate on {shape[0]} channels needs as many factors, not {factors}")
        size = _size(shape)
        live = held + shape[0] + size * (2 if keep else 1)
        self._note(gate, shape, Work(shape, elementwise=size), live)
        return shape, False

    def _note(self, layer: Layer, shape: Shape, work: Work, live: int) -> None:
        output, params, macs, elementwise, _ = work
        kind = type(layer)
        activations = _size(output) if kind is Conv or kind is Linear else 0
        self.rows.append((layer, shape, output, params, macs, elementwise, activations, live))


# What each combinator does, and each primitive below: found by type, which is faster than matching.
_VISIT: dict[type[Layer], Callable[[_Counter, Any, Shape, bool, int], tuple[Shape, bool]]] = {
    Identity: _Counter._identity,
    Seq: _Counter._sequence,
    Add: _Counter._sum,
    Concat: _Counter._concat,
    Gate: _Counter._gate,
}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _size(shape: Shape) -> int:
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
    weights = _size(shape) * out
    return Work((out, 1, 1), weights + (out if linear.bias else 0), weights)


def _pool(pool: Pool, shape: Shape, _: int) -> Work:
    output = pool_shape(pool, shape)
    return Work(output, elementwise=_size(output) * pool.kernel**2)


def _pad(pad: PadChannels, shape: Shape, _: int) -> Work:
    if pad.out < shape[0]:
        raise NetworkError(f"{shape[0]} channels cannot be padded to {pad.out}")
    return Work((pad.out, shape[1], shape[2]))


_WORK: dict[type[Layer], Callable[[Any, Shape, int], Work]] = {
    Conv: _conv,
    Linear: _linear,
    Pool: _pool,
    PadChannels: _pad,
    Norm: lambda _, shape, __: Work(shape, params=2 * shape[0], elementwise=_size(shape), in_place=True),
    Act: lambda _, shape, __: Work(shape, elementwise=_size(shape), in_place=True),
    Scale: lambda _, shape, __: Work(shape, elementwise=_size(shape), in_place=True),
    GlobalPool: lambda pool, shape, _: Work((shape[0], pool.size, pool.size), elementwise=_size(shape)),
    Dropout: lambda _, shape, __: Work(shape),
}

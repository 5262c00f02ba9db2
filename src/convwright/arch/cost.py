"""The cost of a network, computed from its layer graph: parameters, multiply-adds, activations, memory.

MACs are multiply-adds of convolutions and linear layers (the papers call them FLOPs), biases not counted.
Activations are the output elements of convolutions and linear layers (as in Radosavovic et al. 2020).
Element-wise and pooling work is counted apart, as operations: one per element for normalisations,
activation functions, sums and gates, and one per element read for pools.

Peak memory is that of inference on one image: every tensor lives from its computation to its last use,
element-wise layers write in place when nothing else reads their input, and branches run in the order written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from convwright.arch.block_checks import layers_of
from convwright.arch.blocks import Block
from convwright.arch.cost_table import FLOAT32, NOTE, stage_table, totals
from convwright.arch.layer_counting import LayerCounter, Row, elements, paths
from convwright.arch.layers import Layer
from convwright.arch.node import check_size
from convwright.arch.resolution import Resolution, check_resolution, format_resolution, format_sides, sides
from convwright.arch.shapes import Shape, TooSmallError
from convwright.display.result import Block as ShownBlock
from convwright.display.result import Heading, Lines, Paragraph, Result
from convwright.errors import NetworkError
from convwright.units import human

if TYPE_CHECKING:
    from convwright.arch.network import Network


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
    counter = LayerCounter(classes)
    output, _ = counter.visit(graph, shape, False, 0)
    rows = counter.rows
    # Transposed once, so that each column is summed in C.
    _, _, _, params, macs, elementwise, activations, live = zip(*rows, strict=True) if rows else [()] * 8
    peak = max(live, default=elements(shape))
    return BlockCost(output, sum(params), sum(macs), sum(elementwise), sum(activations), peak, graph, tuple(rows))

"""The cost of a network as a table of its stages, and as data."""

from typing import TYPE_CHECKING

from convwright.arch.blocks import SE, Block
from convwright.display.result import Table
from convwright.units import human, human_bytes, human_shape, share

if TYPE_CHECKING:
    from convwright.arch.cost import Cost, StageCost

FLOAT32 = 4
"""Bytes of a number."""
NOTE = (
    "MACs are multiply-adds of one image; the papers call them FLOPs. Activations are the output elements "
    "of convolutions and linear layers; peak is the most activation memory in use at once, in float32."
)
_LEFT_OUT = {"eps", "momentum"}
"""Fields that are the same in every block of a network."""


def stage_table(cost: "Cost") -> Table:
    """Return a table with a row for each stage, and one for the whole network."""
    rows = [
        (
            stage.name,
            human_shape(stage.output),
            human(stage.params),
            human(stage.macs),
            share(stage.macs, cost.macs),
            human(stage.activations),
            human_bytes(stage.peak * FLOAT32),
            contents(stage),
        )
        for stage in cost.stages
    ]
    total = ("total", "", human(cost.params), human(cost.macs), "", human(cost.activations))
    rows.append((*total, human_bytes(cost.peak_bytes()), ""))
    return Table(("stage", "output", "params", "MACs", "share", "activations", "peak", "blocks"), rows, left=2)


def totals(cost: "Cost") -> str:
    """Return lines with the memory that a network needs and the operations beside its MACs."""
    return "\n".join(
        (
            f"Weights                 {human_bytes(cost.params * FLOAT32)} in float32",
            f"Peak activation memory  {human_bytes(cost.peak_bytes(FLOAT32))} for one image in float32",
            f"Element-wise, pooling   {human(cost.elementwise)} operations, apart from the MACs",
        )
    )


def contents(stage: "StageCost") -> str:
    """Return the number and kind of a stage's blocks: `3 × Bottleneck(width=64)`."""
    _, block, _ = stage.blocks[0]
    return f"{len(stage.blocks)} × {compact(block)}" if len(stage.blocks) > 1 else compact(block)


def compact(block: Block) -> str:
    """Return a block in fewer characters than its repr: `MBConv(out=24, stride=2, se=16 post)`."""
    shown = [f"{name}={_compact(value)}" for name, value in block.changed_fields() if name not in _LEFT_OUT]
    return f"{type(block).__name__}({', '.join(shown)})"


def _compact(value: object) -> str:
    if isinstance(value, SE):
        return f"{value.reduction:g}" + ("" if value.placement == "standard" else f" {value.placement}")
    return str(value)

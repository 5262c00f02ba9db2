"""Feature reuse of a run, and the cost of cutting its connections, as results that show themselves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from convwright.bounds import COUNT_OR_NONE
from convwright.csv_text import csv_table
from convwright.display.figure_result import FigureResult
from convwright.display.figures import Figure, with_note
from convwright.display.result import Block, Lines, Paragraph, Table
from convwright.display.table import terminal_width
from convwright.errors import ArgumentError
from convwright.explain.change_cells import change_cells, change_columns, change_dict, change_note, measure_key
from convwright.explain.feature_reuse import BlockReuse, Connection, FeatureReuse, feature_reuse
from convwright.explain.opened import OpenNetwork
from convwright.explain.pruning import PruningStep, prune_steps
from convwright.explain.reuse_figures import cutting_costs, heat_maps
from convwright.explain.variants import SPLITS, variants_of
from convwright.files import write_text
from convwright.options import Bounds, checks_arguments
from convwright.places import check_file
from convwright.units import human, share

CELL = 6
"""Characters of a value of the heat map in the terminal."""
DRAWS = 3
"""Random cuts to compare with at each share."""


@dataclass(frozen=True, eq=False, repr=False)
class Reuse(FigureResult):
    """How strongly the layers of a network's dense blocks weigh the maps of those before them."""

    source: OpenNetwork
    found: FeatureReuse

    @property
    def network(self) -> str:
        """Name of the network."""
        return self.found.network

    @property
    def dense_blocks(self) -> tuple[BlockReuse, ...]:
        """The heat map of each dense block."""
        return self.found.blocks

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every dense connection."""
        return self.found.connections

    @property
    def title(self) -> str:
        """Heading of a page that shows the heat maps."""
        return f"Feature reuse in {self.network}"

    @property
    def summary(self) -> str:
        """How evenly the layers weigh their sources."""
        low = min(block.spread[0] for block in self.found.blocks)
        means = ", ".join(f"{block.spread[1]:.2f} ({block.name})" for block in self.found.blocks)
        return (
            f"{len(self.found.connections)} dense connections in {len(self.found.blocks)} blocks. Relative to the "
            f"strongest source of the same layer, the weakest of all weighs {low:.2f}; the average by block is {means}."
        )

    def figures(self) -> list[Figure]:
        """Return DenseNet's Figure 5, relative and raw."""
        return [heat_maps(self.found), heat_maps(self.found, raw=True)]

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"network": self.network, "dense_blocks": self.dense_blocks, "connections": self.connections}

    def to_dict(self) -> dict[str, object]:
        """Return the matrices of every block."""
        blocks = [
            {
                "name": block.name,
                "sources": block.sources,
                "targets": block.targets,
                "maps": block.maps,
                "raw": block.raw,
                "normalised": block.normalised,
                "relative": block.relative,
                "lowest": block.spread[0],
                "mean": block.spread[1],
                "input": block.input_share,
                "late_over_early": block.late_to_early_ratio,
            }
            for block in self.found.blocks
        ]
        return {
            "run": self.source.name,
            "network": self.network,
            "definition": self.found.definition,
            "with_norm": self.found.with_norm,
            "blocks": blocks,
            "prune": [],
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a row for each block, the heat maps, and the definition of their values."""
        yield Lines(f"{self.network}: {len(self.found.connections)} dense connections")
        titles = ("dense block", "layers", "connections", "lowest", "mean", "input", "late / early", "followed by")
        yield Table(titles, list(map(_row, self.found.blocks)))
        yield Paragraph(
            "lowest, mean, input: weights relative to the strongest source of the same layer; the least, the average, "
            "and that of the block's input. late / early: weight of the later half of the layers over that of the "
            "earlier half, in the layer that follows the block."
        )
        for block in self.found.blocks:
            yield _heat_map(block)
        yield Paragraph(self.found.definition)

    @checks_arguments
    def save_csv(self, path: str | Path) -> None:
        """Write every connection as a row of a CSV file.

        Args:
            path: The file; it is replaced if it exists.

        Raises:
            ArgumentError: The file cannot be written.
        """
        check_file("path", Path(path))
        write_text(Path(path), _as_csv(self.found))

    @checks_arguments
    def prune(
        self,
        shares: float | Sequence[Annotated[float, Bounds(ge=0, le=1)]],
        *,
        draws: Annotated[int, COUNT_OR_NONE] = DRAWS,
        split: str = "val",
    ) -> "Pruning":
        """Cut the weakest connections and measure the accuracy; see `convwright.explain.prune`."""
        network, module = self.source.predictor.network, self.source.predictor.module
        shares = [shares] if isinstance(shares, float | int) else list(shares)
        if not shares:
            raise ArgumentError("shares", "must be shares from 0 to 1 such as 0.1 and 0.2; none is given")
        variants = 1 + sum(value > 0 for value in shares) * (1 + draws)  # the whole network is measured first
        with variants_of(self.source.predictor, self.source.data, split, variants) as measure:
            steps = tuple(prune_steps(network, module, self.found, shares, measure, draws=draws))
        return Pruning(self, split, steps)


@dataclass(frozen=True, eq=False, repr=False)
class Pruning(FigureResult):
    """Accuracy and cost of a network without its weakest dense connections."""

    reuse: Reuse
    split: str
    steps: tuple[PruningStep, ...]
    """The whole network, and a step for each share."""

    @property
    def measure(self) -> str:
        """What each step is judged by: accuracy, or mean average precision."""
        return self.reuse.source.predictor.measure

    @property
    def title(self) -> str:
        """Heading of a page that shows the steps."""
        return f"Cutting dense connections of {self.reuse.network}"

    @property
    def summary(self) -> str:
        """Accuracy at each step."""
        steps = ", ".join(f"{step.accuracy:.2%} with {step.share:.0%} cut" for step in self.steps)
        return f"{self.measure.capitalize()} on {SPLITS[self.split]} images: {steps}."

    def figures(self) -> list[Figure]:
        """Return accuracy against the share of connections cut."""
        figures = [cutting_costs(self.reuse.found, self.steps, SPLITS[self.split], self.measure)]
        return with_note(figures, self.reuse.source.overlap(self.split))

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"network": self.reuse.network, "split": self.split, "steps": self.steps}

    def to_dict(self) -> dict[str, object]:
        """Return accuracy, cost and cut connections of each step."""
        return {
            "run": self.reuse.source.name,
            "network": self.reuse.network,
            "prune": [_step_dict(step, self.split, measure_key(self.measure)) for step in self.steps],
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a row for each step."""
        measured = *change_columns(self.measure), "random cuts", "their range"
        titles = ("cut", "connections", *measured, "parameters", "MACs", "")
        yield Table(titles, [_step_row(step, len(self.reuse.found.connections)) for step in self.steps])
        yield Paragraph(
            f"{self.measure.capitalize()} on {SPLITS[self.split]} images, without training again. "
            f"{change_note(self.measure, 'the whole network')} Parameters and MACs (multiply-adds) are those of a "
            "network that does not read these maps; a random cut of as many connections saves others."
        )
        if overlap := self.reuse.source.overlap(self.split):
            yield Paragraph(overlap)


def reuse_of(source: OpenNetwork, *, with_norm: bool = False) -> Reuse:
    """Measure feature reuse in an opened network."""
    found = feature_reuse(source.predictor.network, source.predictor.module, with_norm=with_norm)
    return Reuse(source, found)


def _row(block: BlockReuse) -> tuple[str, ...]:
    return (
        block.name,
        str(len(block.sources) - 1),
        str(sum(value is not None for row in block.raw for value in row)),
        f"{block.spread[0]:.2f}",
        f"{block.spread[1]:.2f}",
        f"{block.input_share:.2f}",
        "-" if block.late_to_early_ratio is None else f"{block.late_to_early_ratio:.2f}",
        block.targets[-1],
    )


def _heat_map(block: BlockReuse) -> Block:
    """Return the relative values of a block as a table, if a terminal is wide enough for it."""
    if 14 + (CELL + 2) * len(block.targets) > terminal_width():
        return Lines(
            f"{block.name}: {len(block.targets)} columns are too wide for this terminal; figure, CSV and JSON have them"
        )
    names = (f"to {name[-CELL:]}" if name.isdigit() else name for name in block.targets)
    rows = [
        (f"from {source}", *("" if value is None else f"{value:.2f}" for value in values), "")
        for source, values in zip(block.sources, block.relative, strict=True)
    ]
    return Table((f"{block.name} (relative)", *names, ""), rows)


def _step_row(step: PruningStep, connections: int) -> tuple[str, ...]:
    random = [cut.accuracy for cut in step.random]
    return (
        f"{step.share:.0%}",
        f"{step.cut} of {connections}",
        f"{step.accuracy:.2%}",
        f"{step.interval[0]:.2%} to {step.interval[1]:.2%}",
        *change_cells(step.change),
        f"{sum(random) / len(random):.2%}" if random else "-",
        f"{min(random):.2%} to {max(random):.2%}" if random else "-",
        f"{step.params:,} (-{share(step.saving.params, step.params + step.saving.params)})",
        f"{human(step.macs)} (-{share(step.saving.macs, step.macs + step.saving.macs)})",
        "",
    )


def _step_dict(step: PruningStep, split: str, measure: str) -> dict[str, object]:
    return {
        "share": step.share,
        "cut": step.cut,
        "connections": [{"block": e.block, "source": e.source, "target": e.target} for e in step.connections],
        "split": split,
        measure: step.accuracy,
        "interval": step.interval,
        **change_dict(step.change),
        "params": step.params,
        "params_saved": step.saving.params,
        "macs": step.macs,
        "macs_saved": step.saving.macs,
        "random": [
            {
                "seed": cut.seed,
                measure: cut.accuracy,
                "params_saved": cut.saving.params,
                "macs_saved": cut.saving.macs,
            }
            for cut in step.random
        ],
    }


def _as_csv(found: FeatureReuse) -> str:
    rows: list[tuple[object, ...]] = [
        ("block", "source", "target", "maps", "raw", "l1", "normalised", "relative"),
    ]
    for block in found.blocks:
        relative = block.relative
        for column, reader in enumerate(block.targets):
            for each in (each for each in found.connections if (each.block, each.target) == (block.name, reader)):
                figures = (each.average, each.l1, each.normalised, relative[each.source][column])
                rows.append((block.name, each.source, each.target, each.maps, *(f"{value:.9g}" for value in figures)))
    return csv_table(rows)

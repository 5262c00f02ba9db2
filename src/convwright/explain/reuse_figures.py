"""Figures of feature reuse: a heat map for each dense block, and the cost of cutting connections."""

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from convwright.display.figures import SHADES, Figure, Panel, axis, colour, empty_plot
from convwright.display.wording import count, counted, percent
from convwright.explain.feature_reuse import BlockReuse, FeatureReuse, Matrix
from convwright.explain.pruning import PruningStep

SCALE = [[index / (SHADES - 1), f"var(--depth-{index})"] for index in range(SHADES)]
"""From the weakest to the strongest connection, in the page's colours."""
CELL, LEAST, MOST = 26, 190, 640
"""Pixels: a row of a heat map, and the least and greatest height of one."""


def heat_maps(found: FeatureReuse, *, raw: bool = False) -> Figure:
    """Draw how strongly each layer of each dense block weighs the maps of those before it."""
    panels = tuple(
        Panel(
            _heading(block),
            _heat_map(block, block.raw if raw else block.relative, raw),
            (_raw_alt_summary if raw else _alt_summary)(block),
        )
        for block in found.blocks
    )
    if raw:
        caption = f"The average absolute weights of {found.network} themselves, with a scale for each block."
        return Figure("reuse-raw", "Average absolute weights", caption, panels)
    return Figure("reuse", "Feature reuse", f"{found.network}, relative. {found.definition}", panels)


def cutting_costs(found: FeatureReuse, pruned: Sequence[PruningStep], split: str, measure: str = "accuracy") -> Figure:
    """Draw accuracy against the share of connections cut: the weakest, and as many at random."""
    plot = empty_plot(
        height=330,
        x=axis(title="share of dense connections cut", tickformat=".1~%", rangemode="tozero"),
        y=axis(tickformat=".0%", nticks=6, rangemode="tozero"),
    )
    drawn = [step for step in pruned if step.random]
    if drawn:
        plot.add_scatter(
            x=[step.share for step in drawn],
            y=[fmean(cut.accuracy for cut in step.random) for step in drawn],
            mode="lines+markers",
            line={"color": colour(1), "dash": "dot", "width": 1.5},
            marker={"symbol": "square-open", "size": 7},
            error_y=_bars(
                [max(c.accuracy for c in s.random) - fmean(c.accuracy for c in s.random) for s in drawn],
                [fmean(c.accuracy for c in s.random) - min(c.accuracy for c in s.random) for s in drawn],
                colour(1),
            ),
            hovertemplate="at random: %{y:.1%}<extra></extra>",
        )
    plot.add_scatter(
        x=[step.share for step in pruned],
        y=[step.accuracy for step in pruned],
        mode="lines+markers",
        line={"color": colour(0), "width": 2.5},
        marker={"symbol": "circle", "size": 8},
        error_y=_bars(
            [step.interval[1] - step.accuracy for step in pruned],
            [step.accuracy - step.interval[0] for step in pruned],
            colour(0),
        ),
        customdata=[[count(step.saving.params), count(step.saving.macs)] for step in pruned],
        hovertemplate=(
            "the weakest: %{y:.1%}<br>saves %{customdata[0]} parameters, %{customdata[1]} MACs<extra></extra>"
        ),
    )
    alt_summary = "; ".join(f"{percent(s.share)} cut: {percent(s.accuracy)}" for s in pruned)
    return Figure(
        "prune",
        f"{measure.capitalize()} without the weakest connections",
        f"{measure.capitalize()} of {found.network} on {split} images, without training again, when a share of its "
        f"{len(found.connections)} dense connections is cut. Solid: the connections of least average absolute weight, "
        "with 95\u00a0% intervals. Dotted: as many at random, the mean of several draws; bars reach from the worst to "
        "the best.",
        (
            Panel(
                f"{measure.capitalize()} on {split} images",
                plot,
                f"Line chart of {measure} against the share cut. {alt_summary}.",
            ),
        ),
    )


def _heat_map(block: BlockReuse, values: Matrix, raw: bool) -> go.Figure:
    rows, columns = len(block.sources), len(block.targets)
    marks = {"tickmode": "linear", "dtick": max(1, rows // 12)}
    plot = empty_plot(
        height=max(LEAST, min(MOST, CELL * rows + 70)),
        x=axis(title="target layer", tickvals=_ticks(columns), ticktext=[block.targets[i] for i in _ticks(columns)]),
        y=axis(title="source layer", range=[rows - 0.5, -0.5], **marks),
    )
    plot.add_heatmap(
        z=values,
        zmin=None if raw else 0,
        zmax=None if raw else 1,
        colorscale=SCALE,
        xgap=1,
        ygap=1,
        colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": ".2~g" if raw else ".1f", "nticks": 5},
        customdata=[list(block.targets)] * rows,
        hoverongaps=False,
        hovertemplate="from %{y} to %{customdata}: %{z:.3g}<extra></extra>",
    )
    followed = not block.targets[-1].isdigit()
    if followed:  # as in the paper, a frame around the column that is no layer of the block
        line = {"color": "var(--ink)", "width": 1.5}
        plot.add_shape(type="rect", x0=columns - 1.5, x1=columns - 0.5, y0=-0.5, y1=rows - 0.5, line=line)
    plot.update_xaxes(showgrid=False, showline=False)
    plot.update_yaxes(showgrid=False)
    return plot


def _ticks(columns: int) -> list[int]:
    """Return every column of a small block, some of a large one, and the last, which has a name."""
    step = max(1, -(-columns // 8))
    return [*range(0, columns - step // 2 - 1, step), columns - 1] if columns > 1 else [0]


def _heading(block: BlockReuse) -> str:
    return f"{block.name}: {counted(len(block.sources) - 1, 'layer')}, then {block.targets[-1]}"


def _alt_summary(block: BlockReuse) -> str:
    low, mean = block.spread
    ratio = block.late_to_early_ratio
    late = "" if ratio is None else f", and {block.targets[-1]} weighs late layers {ratio:.2f} times as much"
    return (
        f"Heat map of {block.name}: relative to the strongest source of each layer, the weakest has {low:.2f} and all "
        f"have {mean:.2f} on average; the block's input has {block.input_share:.2f}{late}."
    )


def _raw_alt_summary(block: BlockReuse) -> str:
    places = [
        (value, f"{value:.2g} from source {source} to target {target}")
        for source, row in zip(block.sources, block.raw, strict=True)
        for target, value in zip(block.targets, row, strict=True)
        if value is not None
    ]
    (_, least), (_, most) = (choose(places, key=lambda place: place[0]) for choose in (min, max))
    return f"Heat map of {block.name}: average absolute weights, the least {least}, the greatest {most}."


def _bars(up: list[float], down: list[float], colour: str) -> dict[str, object]:
    bars = {"type": "data", "symmetric": False, "array": up, "arrayminus": down}
    return bars | {"color": colour, "thickness": 1.5, "width": 4}

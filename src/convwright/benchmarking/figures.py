"""Figures of `bench`: latency by engine as bars, beside the floor of the multiply-adds."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import plotly.graph_objects as go

from convwright.benchmarking.network_bench import BenchRow, NetworkBench, where
from convwright.display.figures import Figure, Panel, axis, colour, empty_plot

ROW_HEIGHT, FRAME_HEIGHT = 34, 70
COLOURS = {"f32": 0, "bf16": 2, "int8": 1}
"""Number of the page's colour for each precision."""


def latency_figure(networks: Sequence[NetworkBench]) -> Figure:
    """Return the latency of each network by engine, a plot for each."""
    return Figure(
        "latency",
        "Latency by engine",
        "Bars end at the median, whiskers at the 95th percentile, without whiskers where the machine was "
        "busy. The vertical marks are the time of the multiply-adds alone.",
        tuple(replace(panel(network), heading=network.name) for network in networks),
        keys=precision_keys(networks),
    )


def precision_keys(networks: Sequence[NetworkBench]) -> tuple[tuple[str, str], ...]:
    """Return colour and name of every precision that was measured."""
    used = {row.setting.precision for network in networks for row in network.measured}
    return tuple((colour(index), name) for name, index in COLOURS.items() if name in used)


def panel(network: NetworkBench) -> Panel:
    """Return a plot with a bar for each median, a whisker to the 95th percentile, and a mark for each floor."""
    rows = network.measured
    names = [_name(row, rows) for row in rows]
    medians = [1000 * row.measurement.median for row in rows]
    # On a busy machine the 95th percentile is that of other programs, and would dwarf every bar.
    tails = [1000 * (row.measurement.median if row.measurement.doubt else row.measurement.p95) for row in rows]
    plot = empty_plot(
        FRAME_HEIGHT + ROW_HEIGHT * len(rows),
        axis(title="milliseconds a batch", range=[0, 1.12 * max(tails, default=1.0)]),
        axis(autorange="reversed", showgrid=False),
    )
    plot.add_bar(
        x=medians,
        y=names,
        orientation="h",
        width=0.62,
        marker={"color": [colour(COLOURS[row.setting.precision]) for row in rows]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [tail - middle for tail, middle in zip(tails, medians, strict=True)],
            "color": "var(--muted)",
            "thickness": 1.5,
            "width": 4,
        },
        hovertemplate="%{y}: %{x:.3g} ms<extra></extra>",
    )
    _add_floors(plot, network, rows, names)
    listed = "; ".join(f"{name}: {median:.3g} ms" for name, median in zip(names, medians, strict=True))
    return Panel("Median, and 95th percentile", plot, f"Bars of latency by engine. {listed}.")


def _add_floors(plot: go.Figure, network: NetworkBench, rows: Sequence[BenchRow], names: Sequence[str]) -> None:
    """Mark the time of the multiply-adds alone on each bar that has such a floor."""
    found = [(name, network.compute_floor(row.setting)) for name, row in zip(names, rows, strict=True)]
    marks = [(name, 1000 * floor) for name, floor in found if floor is not None]
    if marks:
        plot.add_scatter(
            x=[x for _, x in marks],
            y=[name for name, _ in marks],
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 20, "line": {"width": 2.5}, "color": "var(--ink)"},
            hovertemplate="multiply-adds alone: %{x:.3g} ms<extra></extra>",
        )


def _name(row: BenchRow, among: Sequence[BenchRow]) -> str:
    """Return the name of a bar: its engine, and whatever else differs among the bars."""
    parts = [row.setting.engine]
    if len({other.setting.precision for other in among}) > 1:
        parts.append(row.setting.precision)
    if len({other.setting.batch for other in among}) > 1:
        parts.append(f"batch {row.setting.batch}")
    if len({other.setting.threads for other in among}) > 1:
        parts.append(where(row.setting.threads))
    return escape(", ".join(parts), quote=False)

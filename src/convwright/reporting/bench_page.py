"""The page of `convwright bench`: times by engine beside the machine's floor, in one HTML file."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go

from convwright.benchmarking.benchmark import BenchResult, BenchRow
from convwright.benchmarking.roofline import Machine
from convwright.display.figures import Panel, axis, colour, empty_plot
from convwright.display.pages import write_html
from convwright.display.wording import count, size

ROW_HEIGHT, FRAME_HEIGHT = 34, 70
KINDS = {"f32": 0, "bf16": 2, "int8": 1}
"""Which of the page's colours a precision has."""


def write_bench_page(path: Path, benches: Sequence[BenchResult], machines: Mapping[int, Machine]) -> None:
    """Write one self-contained page, whole or not at all."""
    write_html(
        path,
        "bench.html.j2",
        package="convwright.reporting",
        title="Latency by engine",
        summary=summary(benches),
        machines=machines.values(),
        networks=[(bench, panel(bench), [_cells(bench, line) for line in bench.lines]) for bench in benches],
        precisions=[(name, colour(index)) for name, index in KINDS.items() if _has(benches, name)],
        count=count,
    )


def summary(benches: Sequence[BenchResult]) -> str:
    """Say in a sentence which engine was fastest for each network."""
    told = []
    for bench in benches:
        if ran := _ran(bench):
            best = min(ran, key=lambda line: line.measurement.median / line.setting.batch)
            milliseconds = 1000 * best.measurement.median / best.setting.batch
            told.append(
                f"{bench.name}: {milliseconds:.3g} ms an image at best, with {best.setting.engine} in "
                f"{best.setting.precision}"
            )
    return "; ".join(told) + "." if told else "Nothing could be measured."


def panel(bench: BenchResult) -> Panel:
    """Draw the median of each engine as a bar up to its 95th percentile's whisker, and each floor as a line."""
    ran = _ran(bench)
    names = [_name(line, ran) for line in ran]
    medians = [1000 * line.measurement.median for line in ran]
    tails = [1000 * line.measurement.p95 for line in ran]
    plot = empty_plot(
        FRAME_HEIGHT + ROW_HEIGHT * len(ran),
        axis(title="milliseconds a batch", range=[0, 1.12 * max(tails, default=1.0)]),
        axis(autorange="reversed", showgrid=False),
    )
    plot.add_bar(
        x=medians,
        y=names,
        orientation="h",
        width=0.62,
        marker={"color": [colour(KINDS[line.setting.precision]) for line in ran]},
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
    _add_floors(plot, bench, ran, names)
    gist = "; ".join(f"{name}: {median:.3g} ms" for name, median in zip(names, medians, strict=True))
    return Panel("Median, and the time that 95 % of the batches kept", plot, f"Bars of latency by engine. {gist}.")


def _add_floors(plot: go.Figure, bench: BenchResult, ran: Sequence[BenchRow], names: Sequence[str]) -> None:
    """Mark what the multiply-adds alone would take, on each bar that has such a floor."""
    found = [(name, bench.compute_floor(line.setting)) for name, line in zip(names, ran, strict=True)]
    marks = [(name, 1000 * floor) for name, floor in found if floor is not None]
    if marks:
        plot.add_scatter(
            x=[x for _, x in marks],
            y=[name for name, _ in marks],
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 20, "line": {"width": 2.5}, "color": "var(--ink)"},
            hovertemplate="multiply-adds alone: %{x:.3g} ms<extra></extra>",
        )


def _name(line: BenchRow, among: Sequence[BenchRow]) -> str:
    """Name a bar by its engine, and by whatever else differs among the bars."""
    told = [line.setting.engine]
    if len({other.setting.precision for other in among}) > 1:
        told.append(line.setting.precision)
    for part, unit in (("batch", "batch {}"), ("threads", "{} threads")):
        if len({getattr(other.setting, part) for other in among}) > 1:
            told.append(unit.format(getattr(line.setting, part)))
    return escape(", ".join(told), quote=False)


def _cells(bench: BenchResult, line: BenchRow) -> list[str]:
    setting, result = line.setting, line.measurement
    first = [setting.engine, setting.precision, str(setting.batch), str(setting.threads)]
    if result.problem:
        return [*first, "–", "–", "–", "–", "–", result.problem]
    floor = bench.floor(setting)
    return [
        *first,
        f"{1000 * result.median:.2f}",
        f"{1000 * result.p95:.2f}",
        f"{result.throughput:,.1f}",
        size(result.memory_bytes),
        "–" if floor is None else f"{result.median / floor:.2f}",
        "",
    ]


def _ran(bench: BenchResult) -> list[BenchRow]:
    return [line for line in bench.lines if not line.measurement.problem]


def _has(benches: Sequence[BenchResult], precision: str) -> bool:
    return any(line.setting.precision == precision for bench in benches for line in bench.lines)

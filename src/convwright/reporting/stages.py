"""Cost by stage."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.arch.cost import StageCost
from convwright.display.figures import SHADES, Figure, Panel, axis, empty_plot, note
from convwright.display.wording import count, percent, shortened
from convwright.reporting.entry import Entry
from convwright.reporting.labels import LONGEST_NAME


def stage_costs(entries: Sequence[Entry]) -> Figure:
    """Draw the share of each stage in a network's MACs and parameters."""
    return Figure(
        "stages",
        "Cost by stage",
        "Each network's MACs and parameters by stage, from the stem (lightest) to the head (darkest), as "
        "shares of its own total, which is above the bar. Hover to see names that do not fit.",
        (
            Panel("MACs (multiply-adds) per image", _stage_bars(entries, "macs"), _stage_gist(entries, "macs")),
            Panel("Parameters", _stage_bars(entries, "params"), _stage_gist(entries, "params")),
        ),
    )


def _stage_bars(entries: Sequence[Entry], what: str) -> go.Figure:
    rows = len(entries)
    plot = empty_plot(
        height=58 * rows + 44,
        x=axis(range=[0, 1], tickformat=".0%", tickvals=[0.25, 0.5, 0.75], showline=False),
        y=axis(range=[rows - 0.5, -0.72], visible=False),
    )
    for row, entry in enumerate(entries):
        total = getattr(entry.cost, what)
        for index, stage in enumerate(entry.cost.stages):
            plot.add_bar(**_segment(stage, row, getattr(stage, what), total, _shade(index, entry.cost.stages)))
        plot.add_annotation(
            x=0,
            y=row,
            yshift=22,
            xanchor="left",
            yanchor="middle",
            text=f"{escape(shortened(entry.title, LONGEST_NAME), quote=False)}  <b>{count(total)}</b>",
            bgcolor="var(--paper)",
            **note("var(--ink)"),
        )
    plot.update_layout(barmode="stack", margin={"l": 0, "r": 0}, uniformtext={"minsize": 10, "mode": "hide"})
    return plot


def _segment(stage: StageCost, row: int, value: int, total: int, shade: int) -> dict[str, Any]:
    return {
        "x": [value / total],
        "y": [row],
        "orientation": "h",
        "width": 0.42,
        "text": stage.name,
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": f"var(--on-depth-{shade})", "size": 11},
        "marker": {"color": f"var(--depth-{shade})", "line": {"color": "var(--paper)", "width": 1}},
        "hovertemplate": f"{stage.name}: {count(value)}, {percent(value / total)}<extra></extra>",
    }


def _shade(index: int, stages: Sequence[StageCost]) -> int:
    return round(index * (SHADES - 1) / max(1, len(stages) - 1))


def _stage_gist(entries: Sequence[Entry], what: str) -> str:
    gists = []
    for entry in entries:
        largest = max(entry.cost.stages, key=lambda stage: getattr(stage, what))
        share = getattr(largest, what) / getattr(entry.cost, what)
        gists.append(f"{entry.title} has its highest cost in {largest.name}, {percent(share)}")
    return f"Stacked bars of {'MACs' if what == 'macs' else 'parameters'} by stage. {'; '.join(gists)}."

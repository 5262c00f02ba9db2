"""The page of the reproduction: every claim with its verdict, and the papers' plots with our own counts."""

from collections.abc import Sequence
from html import escape
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, empty_plot, log_axis, note
from convwright.display.pages import write_html
from convwright.reproduction.claim import Outcome, Verdict, costs, tally
from convwright.reproduction.efficientnet import COMPARATORS, FAMILY, Row

if TYPE_CHECKING:
    from convwright.reproduction.result import Reproduction

MARKS = {Verdict.EQUAL: "=", Verdict.EXPLAINED: "≈", Verdict.OPEN: "?", Verdict.ELSEWHERE: "–", Verdict.WRONG: "✗"}
NAMED = {"ResNet-50", "DenseNet-264", "Inception-v4", "ResNeXt-101", "SENet", "AmoebaNet-C", "GPipe"}
"""Comparators whose names stand beside their points; the others appear on hover."""
NAME_ROOM = 0.75
"""Powers of ten to the right of the last point, for its name."""


def write_reproduction_page(path: Path, reproduction: "Reproduction") -> None:
    """Write one self-contained page, completely or not at all."""
    write_html(
        path,
        "reproduction.html.j2",
        package="convwright.reproduction",
        title="Three papers, reproduced",
        summary=summary(reproduction.outcomes),
        papers=reproduction.papers,
        marks=MARKS,
        shown=[accuracy_figure()],
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return a sentence with the number of claims by verdict."""
    words = {
        Verdict.EQUAL: "equal to the printed digits",
        Verdict.EXPLAINED: "different for a reason that is given",
        Verdict.OPEN: "different for a reason that is not known",
        Verdict.ELSEWHERE: "not computable without training",
        Verdict.WRONG: "wrong",
    }
    parts = [f"{count} {words[verdict]}" for verdict, count in tally(outcomes).items()]
    return f"{len(outcomes)} claims: " + ", ".join(parts) + "."


def accuracy_figure() -> Figure:
    """Draw ImageNet accuracy against multiply-adds and parameters, as EfficientNet's Figures 5 and 1 do."""
    macs = _scatter("macs", "multiply-adds an image, logarithmic", 1e9)
    params = _scatter("params", "parameters, logarithmic", 1e6)
    alt_summary = f"EfficientNet-B0 to B7 reach {FAMILY[0].top1} to {FAMILY[-1].top1} % with fewer than all others."
    return Figure(
        "plots",
        "Accuracy against cost",
        "Top-1 accuracy on ImageNet as the paper's Table 2 prints it, against the cost of our own networks where the "
        "zoo has them (filled), and the printed cost where it has not (open). Lines join EfficientNet's points.",
        (
            Panel(
                "Multiply-adds (the paper's Figure 5)", macs, f"Scatter plot of accuracy against MACs. {alt_summary}"
            ),
            Panel("Parameters (Figure 1)", params, f"Scatter plot of accuracy against parameters. {alt_summary}"),
        ),
    )


def _scatter(what: str, title: str, unit: float) -> go.Figure:
    rows = [row for row in (*COMPARATORS, *FAMILY) if _cost(row, what, unit) is not None]
    xs = [_cost(row, what, unit) or 0.0 for row in rows]
    x_axis = log_axis(xs, room=0.12)
    low, high = x_axis["range"]
    plot = empty_plot(
        height=430,
        x=x_axis | {"title": {"text": title}, "tickformat": "~s", "range": [low, high + NAME_ROOM]},
        y=axis(range=[75.2, 85.2], ticksuffix="\u2009%", nticks=6),
    )
    family = [(x, row) for x, row in zip(xs, rows, strict=True) if row in FAMILY]
    others = [(x, row) for x, row in zip(xs, rows, strict=True) if row not in FAMILY]
    plot.add_scatter(**_points(others, "var(--muted)", "square", "markers"))
    plot.add_scatter(**_points(family, "var(--network-0)", "circle", "lines+markers"))
    for points, named, side in ((family, None, "right"), (others, NAMED, "left")):
        for x, row in points:
            if named is None or row.model in named:
                plot.add_annotation(**_name(x, row, side))
    return plot


def _points(points: Sequence[tuple[float, Row]], colour: str, symbol: str, mode: str) -> dict[str, Any]:
    return {
        "x": [x for x, _ in points],
        "y": [row.top1 for _, row in points],
        "mode": mode,
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 9, "symbol": [symbol + ("" if row.ours else "-open") for _, row in points]},
        "text": [escape(row.model) for _, row in points],
        "hovertemplate": "<b>%{text}</b><br>%{y} %<br>%{x:.3s}<extra></extra>",
    }


def _name(x: float, row: Row, side: str) -> dict[str, Any]:
    short = row.model.removeprefix("EfficientNet-")
    colour = "var(--network-0)" if side == "right" else "var(--muted)"
    place = {"xanchor": side, "yanchor": "bottom" if side == "right" else "top"}
    shift = {"xshift": -6 if side == "right" else 6, "yshift": 3 if side == "right" else -3}
    return {"x": log10(x), "y": row.top1, "text": escape(short), **note(colour), **place, **shift}


def _cost(row: Row, what: str, unit: float) -> float | None:
    """Return the cost of our network, else the printed one; None without either."""
    if row.ours:
        return float(getattr(costs(row.ours), what))
    printed = row.params if what == "params" else row.flops
    return float(printed) * unit if printed else None

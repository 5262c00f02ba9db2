"""The page's figures. Colours are names of the page's CSS variables; the reader's browser fills them in."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.arch.cost import StageCost
from convwright.report.entry import Entry
from convwright.report.labels import Dot, Place, place_names, wrapped
from convwright.report.wording import comparable, count, interval, listed, percent

COLOURS = 8
"""How many network colours the page's style defines, ``--network-0`` and up."""
SHADES = 6
"""How many shades the page's style defines for the way from input to output, ``--depth-0`` and up."""
SYMBOLS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "triangle-down": "▼"}
MOST_MARKERS = 24
"""A curve with more points than this is drawn without a marker at each."""
LOG_LOSS, LOG_MACS = 8, 4
"""Where the largest value is this many times the smallest, the axis is logarithmic."""


@dataclass(frozen=True)
class Panel:
    """One plot of a figure."""

    heading: str
    plot: go.Figure
    alt: str
    """What one sees, for those who cannot."""


@dataclass(frozen=True)
class Figure:
    """Panels under one caption."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    legend: bool = False
    """Must the page say which colour is which network?"""


def colour(index: int) -> str:
    """Return the colour of a page's network number `index`, the same in every figure."""
    return f"var(--network-{index % COLOURS})"


def symbol(index: int) -> str:
    """Return the marker of a page's network number `index`, by Plotly's name."""
    return list(SYMBOLS)[index % len(SYMBOLS)]


def glyph(index: int) -> str:
    """Return the character that looks like the marker of a page's network number `index`."""
    return SYMBOLS[symbol(index)]


def figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield every figure that these networks allow."""
    if len(entries) > 1:
        yield accuracy_against_macs(entries)
    if any(entry.run.metrics for entry in entries):
        yield learning_curves(entries)
    yield stage_costs(entries)


def accuracy_against_macs(entries: Sequence[Entry]) -> Figure:
    """Draw each network as a point with its interval, named at the point."""
    macs = [entry.cost.macs for entry in entries]
    lows, highs = [entry.interval[0] for entry in entries], [entry.interval[1] for entry in entries]
    logarithmic = max(macs) >= LOG_MACS * min(macs)
    x_axis = log_axis(macs, room=0.35) if logarithmic else axis(range=[0, 1.3 * max(macs)], nticks=6)
    title = "MACs an image, logarithmic" if logarithmic else "MACs an image"
    room = 0.18 * (max(highs) - min(lows)) + 0.002
    y_range = (max(-0.02, min(lows) - room), min(1.02, max(highs) + room))
    y_axis = axis(range=y_range, tickformat=".1~%", nticks=6)
    plot = empty_plot(height=400, x=x_axis | {"title": {"text": title}, "tickformat": "~s"}, y=y_axis)
    xs = [math.log10(x) if logarithmic else x for x in macs]  # as Plotly places notes
    names = [wrapped(entry.title) for entry in entries]
    dots = [Dot(x, e.accuracy, e.interval, name) for x, e, name in zip(xs, entries, names, strict=True)]
    places = place_names(dots, x_axis["range"], y_range)
    for index, (entry, dot, place) in enumerate(zip(entries, dots, places, strict=True)):
        _add_point(plot, entry, index)
        if place:
            text = "<br>".join(escape(line, quote=False) for line in dot.lines)
            plot.add_annotation(x=dot.x, text=text, **note(colour(index), align=place.xanchor), **place._asdict())
    gist = "; ".join(f"{e.title}: {percent(e.accuracy)} with {count(e.cost.macs)} MACs" for e in entries)
    caveat = "" if comparable(entries) else " Not all were measured on the same images: heights do not compare."
    return Figure(
        "accuracy",
        "Accuracy against multiply-adds",
        "Share of images that each network gets right, against its multiply-adds (MACs) for one image; bars are "
        f"95\u00a0% intervals. Up and to the left is better.{caveat}{_unnamed(entries, places)}",
        (Panel(_split_heading(entries), plot, f"Scatter plot of accuracy against MACs. {gist}."),),
    )


def learning_curves(entries: Sequence[Entry]) -> Figure:
    """Draw loss and accuracy, in training and in validation, against the images seen."""
    accuracy = _curves(entries, "accuracy", axis(tickformat=".0%", nticks=6))
    losses = [row[name] for entry in entries for row in entry.run.metrics for name in ("train_loss", "val_loss")]
    losses = [loss for loss in losses if 0 < loss < math.inf]
    logarithmic = bool(losses) and max(losses) >= LOG_LOSS * min(losses)
    loss = _curves(entries, "loss", log_axis(losses, room=0.05) if logarithmic else axis(rangemode="tozero"))
    ends = [(entry.title, entry.run.metrics[-1]) for entry in entries if entry.run.metrics]
    accuracies = ", ".join(f"{title} {percent(row['val_accuracy'])}" for title, row in ends)
    final_losses = ", ".join(f"{title} {row['val_loss']:.3g}" for title, row in ends)
    return Figure(
        "curves",
        "Learning curves",
        "Each point is one validation in the course of training. Solid lines: images held out of training. Dotted "
        "lines: the training images since the point before, as augmentation left them and while weights still "
        "changed, so that they may well lie on the worse side.",
        (
            Panel("Accuracy", accuracy, f"Line chart; validation accuracy at the end of training: {accuracies}."),
            Panel(
                "Loss (cross-entropy" + (", logarithmic)" if logarithmic else ")"),
                loss,
                f"Line chart; validation loss at the end of training: {final_losses}.",
            ),
        ),
        legend=True,
    )


def stage_costs(entries: Sequence[Entry]) -> Figure:
    """Draw what share of each network's MACs and parameters goes to which stage."""
    return Figure(
        "stages",
        "Where the cost lies",
        "Each network's multiply-adds and parameters by stage, from the stem (lightest) to the head (darkest), as "
        "shares of its own total, which stands above the bar. Names that do not fit appear on pointing.",
        (
            Panel("Multiply-adds (MACs) an image", _stage_bars(entries, "macs"), _stage_gist(entries, "macs")),
            Panel("Parameters", _stage_bars(entries, "params"), _stage_gist(entries, "params")),
        ),
    )


def _curves(entries: Sequence[Entry], what: str, y_axis: dict[str, Any]) -> go.Figure:
    plot = empty_plot(height=330, x=axis(title="training images seen", rangemode="tozero", tickformat="~s"), y=y_axis)
    kinds = (("train", "training", "dot", 1.5, 5), ("val", "validation", "solid", 2.5, 8))
    for key, kind, dash, width, size in kinds:
        for index, entry in enumerate(entries):
            rows = entry.run.metrics
            shown = "%{y:.1%}" if what == "accuracy" else "%{y:.3g}"
            plot.add_scatter(
                x=entry.images_seen,
                y=[row[f"{key}_{what}"] for row in rows],
                mode="lines+markers" if len(rows) <= MOST_MARKERS else "lines",
                line={"color": colour(index), "dash": dash, "width": width},
                marker={"symbol": symbol(index) + ("-open" if key == "train" else ""), "size": size},
                cliponaxis=False,
                hovertemplate=f"{escape(entry.title)}, {kind}: {shown}<extra></extra>",
            )
    plot.update_layout(hovermode="x unified")
    return plot


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
            text=f"{escape(entry.title, quote=False)}  <b>{count(total)}</b>",
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
        gists.append(f"{entry.title} spends most in {largest.name}, {percent(share)}")
    return f"Stacked bars of {'MACs' if what == 'macs' else 'parameters'} by stage. {'; '.join(gists)}."


def _split_heading(entries: Sequence[Entry]) -> str:
    return "Accuracy on " + listed(dict.fromkeys(f"{e.images:,} {e.split} images" for e in entries))


def _unnamed(entries: Sequence[Entry], places: Sequence[Place | None]) -> str:
    names = [entry.title for entry, place in zip(entries, places, strict=True) if not place]
    return f" No room was left to write {listed(names)}; point to see." if names else ""


def _add_point(plot: go.Figure, entry: Entry, index: int) -> None:
    (low, high), macs = entry.interval, entry.cost.macs
    plot.add_scatter(
        x=[macs],
        y=[entry.accuracy],
        mode="markers",
        marker={"color": colour(index), "symbol": symbol(index), "size": 11},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high - entry.accuracy)],
            "arrayminus": [max(0.0, entry.accuracy - low)],
            "color": colour(index),
            "thickness": 1.5,
            "width": 5,
        },
        hovertemplate=(
            f"<b>{escape(entry.title)}</b><br>{percent(entry.accuracy)} ({interval(entry.interval)})"
            f"<br>{count(macs)} MACs<extra></extra>"
        ),
    )


def note(colour: str, align: str = "left") -> dict[str, Any]:
    """Return the style of a text in a plot: no arrow, no frame."""
    return {"showarrow": False, "borderpad": 0, "align": align, "font": {"color": colour, "size": 13}}


def empty_plot(height: int, x: dict[str, Any], y: dict[str, Any]) -> go.Figure:
    """Return an empty plot in the page's style; its width is set by the page."""
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "var(--font)", "size": 12, "color": "var(--muted)"},
            "hoverlabel": {
                "bgcolor": "var(--paper)",
                "bordercolor": "var(--rule)",
                "font": {"family": "var(--font)", "color": "var(--ink)"},
            },
            "showlegend": False,
            "dragmode": False,
            "xaxis": {"showline": True, "linecolor": "var(--muted)"} | x,
            "yaxis": y,
        }
    )


def axis(**settings: Any) -> dict[str, Any]:
    """Return an axis in the page's style, with these settings."""
    plain = {"gridcolor": "var(--rule)", "zeroline": False, "automargin": True, "fixedrange": True}
    if isinstance(title := settings.get("title"), str):
        settings["title"] = {"text": title}
    return plain | settings


def log_axis(values: Sequence[float], room: float) -> dict[str, Any]:
    """Return a logarithmic axis with marks at 1, 2 and 5 times the powers of ten; `room` in powers of ten."""
    low, high = math.log10(min(values)) - room, math.log10(max(values)) + room
    steps = (1, 2, 5) if high - low < 3 else (1,)
    marks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    inside = [mark for mark in marks if low <= math.log10(mark) <= high]
    return axis(type="log", range=[low, high], tickvals=inside)

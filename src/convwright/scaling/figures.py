"""Figures of a study: candidates ranked with their intervals, and a family's accuracy against its cost."""

from collections.abc import Sequence
from html import escape
from math import log10
from typing import Any, Literal

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, log_axis, note, symbol
from convwright.display.wording import counted, percent
from convwright.scaling.findings import Findings
from convwright.scaling.ranking import RankedNetwork

COMPOUND = "compound"
HEIGHT, MARGINS = 440, 72
"""Pixels of a plot of curves, and those of its horizontal axis and margins."""
ROOM, LEAST_ROOM = 0.06, 0.002
"""Room above and below the accuracies: as a share of their range, and at least."""
LABEL_HEIGHT = 34
"""Pixels of a label of two lines."""
MOST_RANKED = 30
"""Most candidates that the ranking draws; tables have all."""
GREY = 7
Cost = Literal["macs", "params"]
_End = tuple[float, float, str, int]
"""Last point of a curve: cost and accuracy, with the rule's name and number."""


def study_figure(findings: Findings) -> Figure:
    """Return the figure of a study: the curves of a family, or the ranking of a search."""
    return _curves(findings) if findings.is_family else _ranking(findings)


def _curves(findings: Findings) -> Figure:
    networks = findings.networks
    rules = sorted({each.rule for each in networks}, key=lambda rule: (rule != COMPOUND, rule))
    base = [each for each in networks if each.rule == COMPOUND and not each.phi]
    heights = _height_range(networks)
    costs: tuple[tuple[Cost, str], ...] = (("macs", "multiply-adds an image"), ("params", "parameters"))
    plots = []
    for cost, title in costs:
        x_axis = log_axis([getattr(each, cost) for each in networks], room=0.08)
        low, high = x_axis["range"]
        x_axis |= {"title": {"text": f"{title}, logarithmic"}, "range": [low, high + 0.25 * (high - low)]}
        y_axis = axis(title=f"{findings.split} {findings.measure}", tickformat=".1~%", nticks=7, range=heights)
        plot = empty_plot(height=HEIGHT, x=x_axis | {"tickformat": "~s"}, y=y_axis)
        ends: list[_End] = []
        for index, rule in enumerate(rules):
            points = sorted((each for each in networks if each.rule == rule), key=lambda each: each.macs)
            points = points if rule == COMPOUND else [*base, *points]
            plot.add_scatter(**_line(points, cost, rule, index))
            ends.append((getattr(points[-1], cost), points[-1].mean.value, rule, index))
        _label_ends(plot, ends, heights)
        plots.append(plot)
    summary, measure = _summary(findings), findings.measure.capitalize()
    return Figure(
        "curves",
        f"{findings.measure.capitalize()} against cost",
        f"Mean {findings.split} {findings.measure} over the seeds, with Student's 95 % intervals, cut off at the "
        "edges of the figure. All curves start at the base. "
        "Networks of the same phi have about the same multiply-adds, except for rounding.",
        (
            Panel("Multiply-adds", plots[0], f"{measure} against multiply-adds, a line for each rule. {summary}"),
            Panel("Parameters", plots[1], f"{measure} against parameters, a line for each rule. {summary}"),
        ),
    )


def _line(points: Sequence[RankedNetwork], cost: Cost, rule: str, index: int) -> dict[str, Any]:
    return {
        "x": [getattr(each, cost) for each in points],
        "y": [each.mean.value for each in points],
        "mode": "lines+markers",
        "line": {"color": colour(index), "width": 3 if rule == COMPOUND else 1.75},
        "marker": {"color": colour(index), "symbol": symbol(index), "size": 9},
        "error_y": _error_bars(points, index),
        "text": [escape(each.network) for each in points],
        "hovertemplate": f"<b>{escape(rule)}</b><br>%{{text}}<br>%{{y:.2%}}, %{{x:.3s}}<extra></extra>",
        "cliponaxis": False,
    }


def _error_bars(points: Sequence[RankedNetwork], index: int) -> dict[str, Any]:
    """Return the intervals of accuracies, which are between 0 and 1."""
    means = [each.mean for each in points]
    return {
        "type": "data",
        "symmetric": False,
        "array": [min(mean.margin or 0.0, 1 - mean.value) for mean in means],
        "arrayminus": [min(mean.margin or 0.0, mean.value) for mean in means],
        "color": colour(index),
        "thickness": 1.5,
        "width": 4,
    }


def _height_range(networks: Sequence[RankedNetwork]) -> tuple[float, float]:
    """Return the range of the axis of accuracy: all means, and the intervals where they do not crowd the means."""
    means = [each.mean for each in networks]
    lowest, highest = min(mean.value for mean in means), max(mean.value for mean in means)
    spread = max(highest - lowest, 0.01)
    low = max(min(mean.value - (mean.margin or 0.0) for mean in means), lowest - spread, 0.0)
    high = min(max(mean.value + (mean.margin or 0.0) for mean in means), highest + spread, 1.0)
    room = max(ROOM * (high - low), LEAST_ROOM)
    return low - room, high + room


def _label_ends(plot: go.Figure, ends: Sequence[_End], heights: tuple[float, float]) -> None:
    """Write each rule's name beside its last point, without overlaps and inside the plot."""
    pixels = (HEIGHT - MARGINS) / (heights[1] - heights[0])
    ordered = sorted(ends, key=lambda end: -end[1])
    targets = [(heights[1] - y) * pixels for _, y, _, _ in ordered]
    places: list[float] = []
    for index, target in enumerate(targets):  # from the top; the labels that follow need room below
        lowest = HEIGHT - MARGINS - LABEL_HEIGHT * (len(targets) - 0.5 - index)
        places.append(max(min(target, lowest), places[-1] + LABEL_HEIGHT if places else LABEL_HEIGHT / 2))
    for (x, y, rule, index), place, target in zip(ordered, places, targets, strict=True):
        plot.add_annotation(
            x=log10(x),
            y=y,
            yshift=round(target - place),
            xshift=10,
            xanchor="left",
            text=escape(rule).replace(" ", "<br>", 1),
            **note(colour(index)),
        )


def _summary(findings: Findings) -> str:
    best = max(findings.networks, key=lambda each: each.mean.value)
    text = f"Highest is {best.name} with {percent(best.mean.value)}."
    compared = findings.comparisons
    if not compared:
        return text
    clear = [each for each in compared if each.lead.margin is not None and abs(each.lead.value) > each.lead.margin]
    ahead = sum(each.lead.value > 0 for each in clear)
    return (
        f"{text} Of {len(compared)} comparisons at equal multiply-adds, compound scaling is ahead by more than the "
        f"95 % interval in {ahead}, behind by more in {len(clear) - ahead}."
    )


def _ranking(findings: Findings) -> Figure:
    networks = findings.networks[:MOST_RANKED]
    lengths = sorted({each.epochs for each in networks}, reverse=True)
    plot = empty_plot(
        height=34 * len(networks) + 70,
        x=axis(tickformat=".1~%", title=f"{findings.split} {findings.measure}", nticks=5, tickangle=0),
        y=axis(
            tickvals=list(range(len(networks))),
            ticktext=[",<br>".join(escape(each.name).rsplit(", ", 1)) for each in networks],
            range=[len(networks) - 0.5, -0.5],
            showgrid=False,
        ),
    )
    for index, length in enumerate(lengths):
        rows = [(place, each) for place, each in enumerate(networks) if each.epochs == length]
        shade = 0 if index == 0 else GREY
        plot.add_scatter(
            x=[each.mean.value for _, each in rows],
            y=[place for place, _ in rows],
            mode="markers",
            marker={"color": colour(shade), "size": 10, "symbol": symbol(index)},
            error_x=_error_bars([each for _, each in rows], shade),
            hovertemplate=f"%{{x:.2%}} after {counted(float(f'{length:.3g}'), 'epoch')}<extra></extra>",
        )
    halving = (
        " Blue: trained longest, which successive halving kept. Grey: dropped after a shorter training, so that "
        "accuracies are lower for that alone."
    )
    return Figure(
        "ranking",
        "Candidates",
        f"Mean {findings.measure} over the seeds with Student's 95 % interval."
        + (halving if len(lengths) > 1 else "")
        + (f" The {len(networks)} best; the table has all." if len(findings.networks) > len(networks) else ""),
        (Panel(f"{len(networks)} candidates", plot, f"A dot for each candidate. {findings.verdict}"),),
    )

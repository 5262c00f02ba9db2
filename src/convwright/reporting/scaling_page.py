"""The page of a scaling study: candidates ranked with their intervals, or a family's accuracy against its cost."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, log_axis, note, symbol
from convwright.display.pages import write_html
from convwright.display.wording import percent

Found = Mapping[str, Any]
"""What `scaling.standing.to_json` returns."""
COMPOUND = "compound"
HEIGHT, AROUND = 440, 72
"""Pixels of a plot of curves, and how many of them its horizontal axis and margins take."""
ROOM, LEAST_ROOM = 0.06, 0.002
"""Above and below what the axis of accuracy must show: as a share of it, and at least."""
NAME = 34
"""Pixels that a name of two lines takes."""
MOST_RANKED = 30
"""Candidates that the ranking draws; the table has all."""


def write_scaling_page(path: Path, found: Found) -> None:
    """Write one self-contained page, whole or not at all."""
    family = "phi" in found["networks"][0]["place"]
    write_html(
        path,
        "scaling.html.j2",
        package="convwright.reporting",
        title=("A family over phi" if family else "A search for alpha, beta and gamma") + f": {found['base']}",
        summary=found["verdict"],
        found=found,
        family=family,
        shown=[_curves(found) if family else _ranking(found)],
    )


def _curves(found: Found) -> Figure:
    networks = found["networks"]
    rules = sorted({network["rule"] for network in networks}, key=lambda rule: (rule != COMPOUND, rule))
    base = next(network for network in networks if network["rule"] == COMPOUND and not network["place"]["phi"])
    heights = _heights(networks)
    plots = []
    for what, title in (("macs", "multiply-adds an image, logarithmic"), ("params", "parameters, logarithmic")):
        x_axis = log_axis([network[what] for network in networks], room=0.08)
        low, high = x_axis["range"]
        plot = empty_plot(
            height=HEIGHT,
            x=x_axis | {"title": {"text": title}, "tickformat": "~s", "range": [low, high + 0.25 * (high - low)]},
            y=axis(title=f"{found['split']} accuracy", tickformat=".1~%", nticks=7, range=heights),
        )
        ends = []
        for index, rule in enumerate(rules):
            points = sorted((one for one in networks if one["rule"] == rule), key=lambda one: one["macs"])
            points = points if rule == COMPOUND else [base, *points]
            plot.add_scatter(**_line(points, what, rule, index))
            ends.append((points[-1][what], points[-1]["mean"], rule, index))
        _name_ends(plot, ends, heights)
        plots.append(plot)
    gist = _gist(found)
    return Figure(
        "curves",
        "Accuracy against cost",
        f"Mean {found['split']} accuracy over the seeds, with Student's 95 % intervals, cut off where they leave the "
        "figure. All curves begin at the base. "
        "Networks of one phi have about the same multiply-adds, as far as rounding allows.",
        (
            Panel("Multiply-adds", plots[0], f"Accuracy against multiply-adds, a line for each rule. {gist}"),
            Panel("Parameters", plots[1], f"Accuracy against parameters, a line for each rule. {gist}"),
        ),
    )


def _line(points: Sequence[Found], what: str, rule: str, index: int) -> dict[str, Any]:
    return {
        "x": [one[what] for one in points],
        "y": [one["mean"] for one in points],
        "mode": "lines+markers",
        "line": {"color": colour(index), "width": 3 if rule == COMPOUND else 1.75},
        "marker": {"color": colour(index), "symbol": symbol(index), "size": 9},
        "error_y": _bars(points, index),
        "text": [escape(one["network"]) for one in points],
        "hovertemplate": f"<b>{escape(rule)}</b><br>%{{text}}<br>%{{y:.2%}}, %{{x:.3s}}<extra></extra>",
        "cliponaxis": False,
    }


def _bars(points: Sequence[Found], index: int) -> dict[str, Any]:
    """Intervals of accuracies, which lie between 0 and 1."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [min(one["half"] or 0.0, 1 - one["mean"]) for one in points],
        "arrayminus": [min(one["half"] or 0.0, one["mean"]) for one in points],
        "color": colour(index),
        "thickness": 1.5,
        "width": 4,
    }


def _heights(networks: Sequence[Found]) -> tuple[float, float]:
    """Return the range of the axis of accuracy: all means, and as much of the intervals as leaves them apart."""
    means = [one["mean"] for one in networks]
    spread = max(max(means) - min(means), 0.01)
    low = max(min(one["mean"] - (one["half"] or 0.0) for one in networks), min(means) - spread, 0.0)
    high = min(max(one["mean"] + (one["half"] or 0.0) for one in networks), max(means) + spread, 1.0)
    room = max(ROOM * (high - low), LEAST_ROOM)
    return low - room, high + room


def _name_ends(plot: go.Figure, ends: Sequence[tuple[float, float, str, int]], heights: tuple[float, float]) -> None:
    """Write each rule's name beside its last point, the names apart from each other and inside the plot."""
    pixels = (HEIGHT - AROUND) / (heights[1] - heights[0])
    ordered = sorted(ends, key=lambda end: -end[1])
    wanted = [(heights[1] - y) * pixels for _, y, _, _ in ordered]
    places: list[float] = []
    for index, place in enumerate(wanted):  # from above; what follows must find room below
        below = HEIGHT - AROUND - NAME * (len(wanted) - 0.5 - index)
        places.append(max(min(place, below), places[-1] + NAME if places else NAME / 2))
    for (x, y, rule, index), place, at in zip(ordered, places, wanted, strict=True):
        plot.add_annotation(
            x=log10(x),
            y=y,
            yshift=round(at - place),
            xshift=10,
            xanchor="left",
            text=escape(rule).replace(" ", "<br>", 1),
            **note(colour(index)),
        )


def _gist(found: Found) -> str:
    best = max(found["networks"], key=lambda one: one["mean"])
    told = f"Highest is {best['name']} with {percent(best['mean'])}."
    if not found["comparisons"]:
        return told
    clear = [one for one in found["comparisons"] if one["half"] is not None and abs(one["lead"]) > one["half"]]
    ahead = sum(one["lead"] > 0 for one in clear)
    return (
        f"{told} Of {len(found['comparisons'])} comparisons at equal multiply-adds, compound scaling is ahead by more "
        f"than the 95 % interval in {ahead}, behind by more in {len(clear) - ahead}."
    )


def _ranking(found: Found) -> Figure:
    networks = found["networks"][:MOST_RANKED]
    lengths = sorted({network["epochs"] for network in networks}, reverse=True)
    plot = empty_plot(
        height=34 * len(networks) + 70,
        x=axis(tickformat=".1~%", title=f"{found['split']} accuracy", nticks=5, tickangle=0),
        y=axis(
            tickvals=list(range(len(networks))),
            ticktext=[",<br>".join(escape(network["name"]).rsplit(", ", 1)) for network in networks],
            range=[len(networks) - 0.5, -0.5],
            showgrid=False,
        ),
    )
    for index, length in enumerate(lengths):
        rows = [(place, one) for place, one in enumerate(networks) if one["epochs"] == length]
        plot.add_scatter(
            x=[one["mean"] for _, one in rows],
            y=[place for place, _ in rows],
            mode="markers",
            marker={"color": colour(0 if index == 0 else 7), "size": 10, "symbol": symbol(index)},
            error_x=_bars([one for _, one in rows], 0 if index == 0 else 7),
            hovertemplate=f"%{{x:.2%}} after {length:.3g} epochs<extra></extra>",
        )
    halving = (
        " Blue: trained longest, those that successive halving kept. Grey: left behind after a shorter training, so "
        "that their accuracies are lower for that alone."
    )
    return Figure(
        "ranking",
        "Candidates",
        "Mean accuracy over the seeds with Student's 95 % interval."
        + (halving if len(lengths) > 1 else "")
        + (f" The {len(networks)} best; the table has all." if len(found["networks"]) > len(networks) else ""),
        (Panel(f"{len(networks)} candidates", plot, f"A dot for each candidate. {found['verdict']}"),),
    )

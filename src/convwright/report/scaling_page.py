"""The page of a scaling study: candidates ranked with their intervals, or a family's accuracy against its cost."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from convwright.arch.units import human
from convwright.files import write_text
from convwright.report.figures import Figure, Panel, axis, colour, empty_plot, log_axis, note, symbol
from convwright.report.wording import percent

Found = Mapping[str, Any]
"""What `scaling.standing.to_json` returns."""
COMPOUND = "compound"
MOST_RANKED = 30
"""Candidates that the ranking draws; the table has all."""


def write_scaling_page(path: Path, found: Found) -> None:
    """Write one self-contained page, whole or not at all."""
    environment = Environment(
        loader=PackageLoader("convwright.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plot_json"] = lambda plot: Markup(plot.to_json().replace("<", "\\u003c"))
    environment.filters |= {"human": human, "percent": percent}
    family = len({network["rule"] for network in found["networks"]}) > 1
    page = environment.get_template("scaling.html.j2").render(
        title=("A family and its rivals" if family else "A search for alpha, beta and gamma") + f": {found['base']}",
        found=found,
        family=family,
        figures=[_curves(found) if family else _ranking(found)],
        plotly=Markup(get_plotlyjs()),
    )
    write_text(path, page)


def _curves(found: Found) -> Figure:
    networks = found["networks"]
    rules = sorted({network["rule"] for network in networks}, key=lambda rule: (rule != COMPOUND, rule))
    base = next(network for network in networks if network["rule"] == COMPOUND and not network["place"]["phi"])
    plots = []
    for what, title in (("macs", "multiply-adds an image, logarithmic"), ("params", "parameters, logarithmic")):
        x_axis = log_axis([network[what] for network in networks], room=0.08)
        low, high = x_axis["range"]
        plot = empty_plot(
            height=420,
            x=x_axis | {"title": {"text": title}, "tickformat": "~s", "range": [low, high + 0.25 * (high - low)]},
            y=axis(tickformat=".1%", nticks=7),
        )
        ends = []
        for index, rule in enumerate(rules):
            points = sorted((one for one in networks if one["rule"] == rule), key=lambda one: one["macs"])
            points = points if rule == COMPOUND else [base, *points]
            plot.add_scatter(**_line(points, what, rule, index))
            ends.append((points[-1][what], points[-1]["mean"], rule, index))
        _name_ends(plot, ends)
        plots.append(plot)
    gist = _gist(found)
    return Figure(
        "curves",
        "Accuracy against cost",
        f"Mean {found['split']} accuracy over the seeds, with Student's 95 % intervals. All curves begin at the base. "
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
        "error_y": {
            "type": "data",
            "array": [one["half"] or 0.0 for one in points],
            "color": colour(index),
            "thickness": 1,
            "width": 4,
        },
        "text": [escape(one["network"]) for one in points],
        "hovertemplate": f"<b>{escape(rule)}</b><br>%{{text}}<br>%{{y:.2%}}, %{{x:.3s}}<extra></extra>",
        "cliponaxis": False,
    }


def _name_ends(plot: go.Figure, ends: Sequence[tuple[float, float, str, int]]) -> None:
    """Write each rule's name beside its last point, apart from each other."""
    heights = [height for _, height, _, _ in ends]
    spread = max(max(heights) - min(heights), 1e-6)
    last = float("inf")
    for x, y, rule, index in sorted(ends, key=lambda end: -end[1]):
        place = min(y, last - 0.16 * spread)
        last = place
        plot.add_annotation(
            x=log10(x),
            y=y,
            yshift=round((place - y) / spread * 60),
            xshift=10,
            xanchor="left",
            text=escape(rule),
            **note(colour(index)),
        )


def _gist(found: Found) -> str:
    best = max(found["networks"], key=lambda one: one["mean"])
    sure = [one for one in found["comparisons"] if one["half"] is not None and abs(one["lead"]) > one["half"]]
    ahead = sum(one["lead"] > 0 for one in sure)
    return (
        f"Highest is {best['name']} with {percent(best['mean'])}. Of {len(found['comparisons'])} comparisons at equal "
        f"multiply-adds, compound scaling is surely ahead in {ahead}, surely behind in {len(sure) - ahead}."
    )


def _ranking(found: Found) -> Figure:
    networks = found["networks"][:MOST_RANKED]
    lengths = sorted({network["epochs"] for network in networks}, reverse=True)
    plot = empty_plot(
        height=34 * len(networks) + 70,
        x=axis(tickformat=".0%", title=f"{found['split']} accuracy", nticks=7),
        y=axis(
            tickvals=list(range(len(networks))),
            ticktext=[escape(network["name"]) for network in networks],
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
            error_x={
                "type": "data",
                "array": [one["half"] or 0.0 for _, one in rows],
                "color": colour(0 if index == 0 else 7),
                "thickness": 1.5,
                "width": 4,
            },
            hovertemplate=f"%{{x:.2%}} after {length:g} epochs<extra></extra>",
        )
    return Figure(
        "ranking",
        "Candidates",
        "Mean accuracy over the seeds with Student's 95 % interval. Blue: trained longest, those that successive "
        "halving kept. Grey: left behind after a shorter training, so that their accuracies are lower for that alone.",
        (Panel(f"{len(networks)} candidates", plot, f"A dot for each candidate. {found['verdict']}"),),
    )

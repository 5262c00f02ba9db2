"""Accuracy against cost: each network as a point, and the Pareto front."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, log_axis, note, symbol
from convwright.display.wording import count, interval, listed, milliseconds, percent
from convwright.reporting.entry import Entry, Numbered, peers
from convwright.reporting.labels import Dot, Place, place_names, wrapped
from convwright.reporting.pairs import front
from convwright.reporting.wording import comparable, measured_on

_MEANING = {
    "accuracy": "Share of images that each network classifies correctly",
    "mean average precision": "Mean average precision of each network over the classes",
}
LOG_COST = 4
"""The axis is logarithmic if the largest cost is this many times the smallest."""


@dataclass(frozen=True)
class CostMeasure:
    """A measure of cost."""

    name: str
    axis: str
    of: Callable[[Entry], float]
    written: Callable[[float], str]
    ticks: dict[str, str]
    logarithmic: bool
    """Whether the axis may be logarithmic."""


MACS = CostMeasure(
    "MACs", "MACs an image", lambda e: e.cost.macs, lambda n: f"{count(n)} MACs", {"tickformat": "~s"}, True
)
LATENCY = CostMeasure(
    "latency",
    "milliseconds an image",
    lambda e: 1000 * e.latency.seconds if e.latency else math.nan,
    lambda ms: milliseconds(ms / 1000),
    {},
    True,
)


def tradeoff(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield accuracy against cost, where several networks were measured on the same images."""
    groups = list(peers(entries))
    if not groups:
        return
    panels, facts, findings = [], [], []
    measure = entries[0].measure
    for group in groups:
        members = [entry for _, entry in group]
        timed = all(entry.latency for entry in members)
        for cost in (MACS, LATENCY) if timed else (MACS,):
            panel, unnamed = scatter(group, cost)
            best = front(members, cost.of)
            panels.append(panel)
            names = [members[place].title for place in best]
            facts.append({"against": cost.name, "images": measured_on(members[0]), "front": names})
            findings.append(_front_finding(best, members, cost) + unnamed)
    caveat = "" if comparable(entries) else " Only networks that were measured on the same images share a plot."
    yield Figure(
        "accuracy",
        f"{measure.capitalize()} against cost",
        f"{_MEANING[measure]}, against its multiply-adds (MACs) for one image"
        + (" and the time that one image takes" if len(panels) > len(groups) else "")
        + f"; bars are 95\u00a0% intervals. Up and to the left is better.{caveat}",
        tuple(panels),
        findings=tuple(dict.fromkeys(findings)),
        facts=facts,
    )


def scatter(group: Sequence[Numbered], cost: CostMeasure) -> tuple[Panel, str]:
    """Draw each network as a named point with its interval; return the plot, and a sentence on names without room."""
    entries = [entry for _, entry in group]
    costs = [cost.of(entry) for entry in entries]
    logarithmic = cost.logarithmic and max(costs) >= LOG_COST * min(costs)
    lows, highs = [entry.interval[0] for entry in entries], [entry.interval[1] for entry in entries]
    room = 0.18 * (max(highs) - min(lows)) + 0.002
    y_range = (max(-0.02, min(lows) - room), min(1.02, max(highs) + room))
    x_axis = log_axis(costs, room=0.35) if logarithmic else axis(range=[0, 1.3 * max(costs)], nticks=6)
    title = f"{cost.axis}, logarithmic" if logarithmic else cost.axis
    y_axis = axis(range=y_range, tickformat=".1~%", nticks=6)
    plot = empty_plot(height=400, x=x_axis | {"title": {"text": title}} | cost.ticks, y=y_axis)
    xs = [math.log10(x) if logarithmic else x for x in costs]  # as Plotly places notes
    names = [wrapped(entry.title) for entry in entries]
    dots = [Dot(x, e.accuracy, e.interval, name) for x, e, name in zip(xs, entries, names, strict=True)]
    places = place_names(dots, x_axis["range"], y_range)
    for (index, entry), dot, place in zip(group, dots, places, strict=True):
        _add_point(plot, entry, index, cost)
        if place:
            text = "<br>".join(escape(line, quote=False) for line in dot.lines)
            plot.add_annotation(x=dot.x, text=text, **_name(index, place.xanchor), **place._asdict())
    _add_front(plot, entries, cost)
    alt_summary = "; ".join(f"{e.title}: {percent(e.accuracy)} with {cost.written(cost.of(e))}" for e in entries)
    alt = f"Scatter plot of {entries[0].measure} against {cost.name}. {alt_summary}."
    return Panel(heading(entries[0]), plot, alt), _unnamed(entries, places)


def heading(entry: Entry) -> str:
    """Return the heading of a plot: the images that its accuracies were measured on."""
    return f"{entry.measure.capitalize()} on {measured_on(entry)}"


def _front_finding(best: Sequence[int], entries: Sequence[Entry], cost: CostMeasure) -> str:
    """Return a sentence on the Pareto front, given the indices of its networks."""
    names = [entries[place].title for place in best]
    rest = [entry.title for place, entry in enumerate(entries) if place not in best]
    if not rest:
        return f"In {cost.name}, all are on the Pareto front: no other network is as accurate at the same cost or less."
    verbs = ["is" if len(some) == 1 else "are" for some in (names, rest)]
    return (
        f"In {cost.name}, {listed(names)} {verbs[0]} on the Pareto front (dotted); {listed(rest)} {verbs[1]} not: "
        "another network costs no more and is at least as accurate."
    )


def _unnamed(entries: Sequence[Entry], places: Sequence[Place | None]) -> str:
    names = [entry.title for entry, place in zip(entries, places, strict=True) if not place]
    return f" There is no room for the names {listed(names)}; hover over the points to see them." if names else ""


def _name(index: int, align: str) -> dict[str, Any]:
    return note(colour(index), align) | {"bgcolor": "var(--paper)"}  # the front passes behind it


def _add_point(plot: go.Figure, entry: Entry, index: int, cost: CostMeasure) -> None:
    (low, high), amount = entry.interval, cost.of(entry)
    error: dict[str, Any] = {"type": "data", "symmetric": False, "color": colour(index), "thickness": 1.5, "width": 5}
    plot.add_scatter(
        x=[amount],
        y=[entry.accuracy],
        mode="markers",
        marker={"color": colour(index), "symbol": symbol(index), "size": 11},
        error_y=error | {"array": [max(0.0, high - entry.accuracy)], "arrayminus": [max(0.0, entry.accuracy - low)]},
        hovertemplate=(
            f"<b>{escape(entry.title)}</b><br>{percent(entry.accuracy)} ({interval(entry.interval)})"
            f"<br>{cost.written(amount)}<extra></extra>"
        ),
    )


def _add_front(plot: go.Figure, entries: Sequence[Entry], cost: CostMeasure) -> None:
    """Join the Pareto front by steps; networks below and to the right of them are dominated."""
    best = [entries[place] for place in front(entries, cost.of)]
    if len(best) > 1:
        plot.add_scatter(
            x=[cost.of(entry) for entry in best],
            y=[entry.accuracy for entry in best],
            mode="lines",
            line={"color": "var(--muted)", "width": 1.2, "dash": "dot", "shape": "hv"},
            hoverinfo="skip",
        )

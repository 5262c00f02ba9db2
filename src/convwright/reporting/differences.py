"""Accuracies compared image by image, which is more sensitive than comparing their intervals."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, note, symbol
from convwright.display.wording import counted, p_value, points, points_between, shortened
from convwright.reporting.entry import Entry, peers
from convwright.reporting.labels import LONGEST_NAME
from convwright.reporting.pairs import AnyPair, LabelPair, Pair, pairs
from convwright.reporting.tradeoff import heading

_TESTS = {"accuracy": "McNemar's exact test", "mean average precision": "a paired bootstrap over images"}
ROW, LINE = 54, 17
"""Pixels of one pair, and of each further line of its label."""


def differences(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the paired differences of networks with predictions for the same images."""
    groups = [group for group in peers(entries) if all(entry.predicted for _, entry in group)]
    compared = [(group[0][1], pairs(group)) for group in groups]
    if not compared:
        return
    every = [pair for _, found in compared for pair in found]
    panels = [
        Panel(heading(first).replace(first.measure.capitalize(), "Difference", 1), _plot(found), _alt_summary(found))
        for first, found in compared
    ]
    yield Figure(
        "differences",
        "Differences on the same images",
        f"{entries[0].measure.capitalize()} of the network named first minus that of the other, in percentage points, "
        "with 95\u00a0% intervals for paired predictions. A difference whose interval excludes zero is statistically "
        f"significant; p is that of {_TESTS[entries[0].measure]}.",
        tuple(panels),
        findings=tuple(map(finding, every)),
        facts=[pair_dict(pair) for pair in every],
    )


def finding(pair: AnyPair) -> str:
    """Return a sentence on the difference of a pair."""
    names = f"{pair.first[1].title} against {pair.second[1].title}"
    verdict = "significant" if pair.significant else "not significant"
    if isinstance(pair, LabelPair):
        return f"{names}: the difference is {verdict} ({p_value(pair.p_value)})."
    return (
        f"{names}: {counted(pair.only_first, 'image is', 'images are')} correct only for the first, "
        f"{pair.only_second:,} only for the second; the difference is {verdict} ({p_value(pair.p_value)})."
    )


def pair_dict(pair: AnyPair) -> dict[str, object]:
    """Return a pair as values that JSON can hold."""
    return {
        "first": pair.first[1].title,
        "second": pair.second[1].title,
        "difference": pair.difference,
        "interval": list(pair.interval),
        **({"only_first": pair.only_first, "only_second": pair.only_second} if isinstance(pair, Pair) else {}),
        "images": pair.images,
        "p_value": pair.p_value,
    }


def _label(pair: AnyPair) -> list[str]:
    """Return the names of a pair as one line, or as two where they are too long for a phone."""
    first, second = (shortened(entry.title, LONGEST_NAME) for _, entry in (pair.first, pair.second))
    return [f"{first} − {second}"] if len(first) + len(second) < LONGEST_NAME else [f"{first} −", second]


def _plot(found: Sequence[AnyPair]) -> go.Figure:
    bounds = [100 * bound for pair in found for bound in pair.interval]
    low, high = min(0.0, *bounds), max(0.0, *bounds)
    room = 0.06 * (high - low)
    most_lines = max(len(_label(pair)) for pair in found)
    plot = empty_plot(
        height=(ROW + LINE * (most_lines - 1)) * len(found) + 60,
        x=axis(range=[low - room, high + room], title="percentage points", nticks=7),
        y=axis(range=[len(found) - 0.6, -0.85 - 0.1 * (most_lines - 1)], visible=False),
    )
    plot.add_vline(x=0, line={"color": "var(--muted)", "width": 1})
    for row, pair in enumerate(found):
        _add_row(plot, row, pair)
    plot.update_layout(margin={"l": 8})
    return plot


def _add_row(plot: go.Figure, row: int, pair: AnyPair) -> None:
    index = pair.first[0]
    difference, (low, high) = 100 * pair.difference, (100 * bound for bound in pair.interval)
    error: dict[str, Any] = {"type": "data", "symmetric": False, "color": colour(index), "thickness": 1.5, "width": 5}
    plot.add_scatter(
        x=[difference],
        y=[row],
        mode="markers",
        marker={"color": colour(index), "symbol": symbol(index), "size": 11},
        error_x=error | {"array": [max(0.0, high - difference)], "arrayminus": [max(0.0, difference - low)]},
        hovertemplate=f"{points(pair.difference)} ({points_between(pair.interval)})<extra></extra>",
    )
    lines = [escape(line, quote=False) for line in _label(pair)]
    plot.add_annotation(
        x=0,
        xref="paper",
        y=row,
        yshift=19 + LINE / 2 * (len(lines) - 1),
        xanchor="left",
        yanchor="middle",
        text=f"{'<br>'.join(lines)}  <b>{points(pair.difference)}</b>",
        bgcolor="var(--paper)",
        **note("var(--ink)"),
    )


def _alt_summary(found: Sequence[AnyPair]) -> str:
    rows = [
        f"{pair.first[1].title} minus {pair.second[1].title}: {points(pair.difference)}, "
        f"interval {points_between(pair.interval)}"
        for pair in found
    ]
    return f"Differences in {found[0].first[1].measure} with intervals. {'; '.join(rows)}."

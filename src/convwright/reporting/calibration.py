"""Whether a network's probabilities can be believed."""

from collections.abc import Iterator, Sequence
from html import escape

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, symbol
from convwright.display.wording import percent
from convwright.reporting.entry import Answers, Entry

FEW = 10
"""A share of fewer images than this says little; such bins are drawn open."""
FAIR = 0.01
"""A mean confidence this close to the accuracy is called neither too high nor too low."""


def calibration(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the reliability diagram, and how sure the networks are."""
    answered = [(index, entry, entry.answers) for index, entry in enumerate(entries) if entry.answers]
    if not answered:
        return
    reliability, sureness = _plot("share of images recognised"), _plot("share of images")
    reliability.update_layout(yaxis={"range": [-0.02, 1.02]})
    reliability.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": "var(--muted)", "width": 1, "dash": "dot"}, hoverinfo="skip"
    )
    for index, entry, answers in answered:
        _add_reliability(reliability, index, entry, answers)
        _add_sureness(sureness, index, entry, answers)
    errors = ", ".join(f"{e.title} {percent(a.measures.calibration_error)}" for _, e, a in answered)
    sure = ", ".join(f"{e.title} {percent(float(a.confidence.mean()))}" for _, e, a in answered)
    yield Figure(
        "calibration",
        "Calibration: what a probability is worth",
        "Images in 15 groups by the probability of the answer. On the dotted diagonal, answers given with 80\u00a0% "
        f"are right in 80\u00a0% of the cases; below it, a network is too sure of itself. Groups of fewer than {FEW} "
        "images are drawn open. The expected calibration error (ECE) is the mean distance from the diagonal, by "
        f"images: {errors}.",
        (
            Panel("Right answers by their probability", reliability, f"Reliability diagram. ECE: {errors}."),
            Panel("How sure the answers are", sureness, f"Shares of images by probability. Mean probability: {sure}."),
        ),
        legend=True,
        members=tuple(index for index, _, _ in answered),
        findings=tuple(_told(entry, answers) for _, entry, answers in answered),
    )


def _told(entry: Entry, answers: Answers) -> str:
    mean, excess = percent(float(answers.confidence.mean())), answers.overconfidence
    accuracy = percent(answers.measures.accuracy)
    if abs(excess) < FAIR:
        return f"{entry.title} is about as sure as it is right, {mean} and {accuracy}."
    kind = "too sure of itself" if excess > 0 else "not as sure as it could be"
    return f"{entry.title} is {kind}: it is {mean} sure on average, and right on {accuracy}."


def _plot(title: str) -> go.Figure:
    return empty_plot(
        height=360,
        x=axis(range=[-0.02, 1.02], title="probability of the answer", tickformat=".0%", nticks=6),
        y=axis(title=title, rangemode="tozero", tickformat=".0%", nticks=6),
    )


def _add_reliability(plot: go.Figure, index: int, entry: Entry, answers: Answers) -> None:
    filled = [part for part in answers.measures.reliability if part.images]
    plot.add_scatter(
        x=[part.confidence for part in filled],
        y=[part.accuracy for part in filled],
        customdata=[f"{part.images:,}" for part in filled],
        mode="lines+markers",
        line={"color": colour(index), "width": 2},
        marker={"size": 8, "symbol": [symbol(index) + ("" if part.images >= FEW else "-open") for part in filled]},
        cliponaxis=False,
        hovertemplate=f"{escape(entry.title)}: sure %{{x:.1%}}, right %{{y:.1%}} of %{{customdata}}<extra></extra>",
    )


def _add_sureness(plot: go.Figure, index: int, entry: Entry, answers: Answers) -> None:
    parts = answers.measures.reliability
    plot.add_scatter(
        x=[(part.low + part.high) / 2 for part in parts],
        y=[part.images / answers.measures.images for part in parts],
        mode="lines+markers",
        line={"color": colour(index), "width": 2},
        marker={"size": 7, "symbol": symbol(index)},
        cliponaxis=False,
        hovertemplate=f"{escape(entry.title)}: %{{y:.1%}} of the images<extra></extra>",
    )

"""Calibration: probabilities compared with accuracies."""

from collections.abc import Iterator, Sequence
from html import escape

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, symbol
from convwright.display.wording import counted, percent
from convwright.reporting.entry import Entry
from convwright.reporting.predicted import SplitPredictions

FEW = 10
"""Bins of fewer images than this are drawn open."""
FAIR = 0.01
"""Largest difference between mean confidence and accuracy that counts as none."""


def calibration(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the reliability diagram and the histogram of confidence."""
    measured = [(index, entry, entry.predictions) for index, entry in enumerate(entries) if entry.predictions]
    if not measured:
        return
    reliability, histogram = _plot("accuracy"), _plot("share of images")
    reliability.update_layout(yaxis={"range": [-0.02, 1.02]})
    reliability.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": "var(--muted)", "width": 1, "dash": "dot"}, hoverinfo="skip"
    )
    for index, entry, predictions in measured:
        _add_reliability(reliability, index, entry, predictions)
        _add_histogram(histogram, index, entry, predictions)
    errors = ", ".join(f"{e.title} {percent(a.measures.calibration_error)}" for _, e, a in measured)
    confidences = ", ".join(f"{e.title} {percent(float(a.confidence.mean()))}" for _, e, a in measured)
    yield Figure(
        "calibration",
        "Calibration: confidence against accuracy",
        "Images in 15 bins by confidence, the probability of the predicted class. On the dotted diagonal, predictions "
        f"with a confidence of 80\u00a0% are correct in 80\u00a0% of the cases; below it, a network is overconfident. "
        f"Bins of fewer than {FEW} images are drawn open. The expected calibration error (ECE) is the mean distance "
        f"from the diagonal, weighted by images: {errors}.{_temperatures(measured)}",
        (
            Panel("Accuracy by confidence", reliability, f"Reliability diagram. ECE: {errors}."),
            Panel("Images by confidence", histogram, f"Images by confidence. Mean confidence: {confidences}."),
        ),
        legend=True,
        members=tuple(index for index, _, _ in measured),
        findings=tuple(_finding(entry, predictions) for _, entry, predictions in measured),
    )


def _temperatures(measured: Sequence[tuple[int, Entry, SplitPredictions]]) -> str:
    """Return a sentence on the networks whose probabilities are calibrated; empty if there are none."""
    found = [(entry.title, predictions.predictor.temperature) for _, entry, predictions in measured]
    texts = [f"{title} (temperature {temperature:.3g})" for title, temperature in found if temperature != 1]
    return f" Calibrated on validation images: {', '.join(texts)}." if texts else ""


def _finding(entry: Entry, predictions: SplitPredictions) -> str:
    mean, excess = percent(float(predictions.confidence.mean())), predictions.overconfidence
    accuracy = percent(predictions.measures.accuracy)
    if abs(excess) < FAIR:
        return f"{entry.title} is well calibrated: its mean confidence is {mean}, its accuracy {accuracy}."
    kind = "overconfident" if excess > 0 else "underconfident"
    return f"{entry.title} is {kind}: its mean confidence is {mean}, its accuracy {accuracy}."


def _plot(title: str) -> go.Figure:
    return empty_plot(
        height=360,
        x=axis(range=[-0.02, 1.02], title="confidence", tickformat=".0%", nticks=6),
        y=axis(title=title, rangemode="tozero", tickformat=".0%", nticks=6),
    )


def _add_reliability(plot: go.Figure, index: int, entry: Entry, predictions: SplitPredictions) -> None:
    filled = [part for part in predictions.measures.reliability if part.images]
    plot.add_scatter(
        x=[part.confidence for part in filled],
        y=[part.accuracy for part in filled],
        customdata=[counted(part.images, "image") for part in filled],
        mode="lines+markers",
        line={"color": colour(index), "width": 2},
        marker={"size": 8, "symbol": [symbol(index) + ("" if part.images >= FEW else "-open") for part in filled]},
        cliponaxis=False,
        hovertemplate=(
            f"{escape(entry.title)}: confidence %{{x:.1%}}, accuracy %{{y:.1%}}, %{{customdata}}<extra></extra>"
        ),
    )


def _add_histogram(plot: go.Figure, index: int, entry: Entry, predictions: SplitPredictions) -> None:
    parts = predictions.measures.reliability
    plot.add_scatter(
        x=[(part.low + part.high) / 2 for part in parts],
        y=[part.images / predictions.measures.images for part in parts],
        mode="lines+markers",
        line={"color": colour(index), "width": 2},
        marker={"size": 7, "symbol": symbol(index)},
        cliponaxis=False,
        hovertemplate=f"{escape(entry.title)}: %{{y:.1%}} of the images<extra></extra>",
    )

"""Confusion matrices."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, empty_plot, heat_scale
from convwright.display.wording import counted, listed, shortened
from convwright.evaluation.figures import LONGEST, MOST_NAMED, drawn_classes, heat_cells, heat_style
from convwright.reporting.entry import Entry
from convwright.reporting.predicted import SplitPredictions

WORST = 3


def confusion(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield a confusion matrix for each network."""
    measured = [(entry, entry.predictions) for entry in entries if entry.predictions]
    if not measured:
        return
    named = all(len(drawn_classes(predictions.measures)) <= MOST_NAMED for entry, predictions in measured)
    counts = "Numbers are images. " if named else ""
    yield Figure(
        "confusion",
        "Confusion matrix",
        f"Each row is a class of the data, each column a predicted class. {counts}Correct predictions are on the "
        "diagonal, in blue; wrong ones are elsewhere, in orange; the darker, the larger the share of the row's "
        f"class.{_left_out(measured)}",
        tuple(
            Panel(entry.title, _plot(entry, predictions), _alt(entry, predictions)) for entry, predictions in measured
        ),
        findings=tuple(_finding(entry, predictions) for entry, predictions in measured),
    )


def _left_out(measured: Sequence[tuple[Entry, SplitPredictions]]) -> str:
    drawn = [(len(drawn_classes(predictions.measures)), len(entry.run.classes)) for entry, predictions in measured]
    some = listed(dict.fromkeys(f"{few} of {total:,}" for few, total in drawn if few < total) or [""])
    return f" Only the classes that a network confuses most are drawn: {some}." if some else ""


def _finding(entry: Entry, predictions: SplitPredictions) -> str:
    classes, measures = entry.run.classes, predictions.measures
    sizes = measures.confusion.sum(1).tolist()
    worst = [
        f"{classes[pair.truth]} with {classes[pair.predicted_as]} ({pair.images:,} of {sizes[pair.truth]:,})"
        for pair in measures.most_confused(WORST)
    ]
    return f"{entry.title} most often confuses {listed(worst)}." if worst else f"{entry.title} makes no errors."


def _alt(entry: Entry, predictions: SplitPredictions) -> str:
    scores = [score for score in predictions.measures.class_scores(entry.run.classes) if score.recall is not None]
    best, worst = (choose(scores, key=lambda score: score.recall or 0.0) for choose in (max, min))
    return (
        f"Confusion matrix of {entry.title}: best recall {best.name}, {best.correct:,} of "
        f"{counted(best.images, 'image')}; worst {worst.name}, {worst.correct:,} of {worst.images:,}. "
        f"{_finding(entry, predictions)}"
    )


def _plot(entry: Entry, predictions: SplitPredictions) -> go.Figure:
    drawn = drawn_classes(predictions.measures)
    names = [escape(entry.run.classes[index]) for index in drawn]
    confusion = predictions.measures.confusion
    counts = confusion[drawn][:, drawn]
    shares = (counts / confusion.sum(1, keepdim=True)[drawn].clamp(min=1)).tolist()
    few = len(names) <= MOST_NAMED
    ticks: dict[str, Any] = {
        "showgrid": False,
        "showline": False,
        "constrain": "domain",
        "type": "category",
        "ticks": "",
    }
    if few:
        short = [escape(shortened(entry.run.classes[index], LONGEST), quote=False) for index in drawn]
        ticks |= {"tickvals": names, "ticktext": short}
    else:
        ticks |= {"showticklabels": False}
    plot = empty_plot(
        height=27 * len(names) + 120 if few else 420,
        x=axis(title="predicted as", side="bottom", tickangle=-90 if few else 0, **ticks),
        y=axis(title="" if few else "class", autorange="reversed", **ticks),
    )
    for diagonal, scale in ((True, "heat"), (False, "fault")):
        cells = heat_cells(counts.tolist(), shares, diagonal)
        plot.add_heatmap(
            x=names, y=names, z=cells, colorscale=heat_scale(scale), **heat_style(cells, counts.tolist(), names, few)
        )
    return plot

"""Confusion matrices."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, empty_plot, heat_scale
from convwright.display.wording import listed, shortened
from convwright.reporting.entry import Entry, SplitPredictions

MOST_NAMED = 20
"""With more classes there is no room for names and counts, which appear on hover."""
MOST_DRAWN = 100
"""With more classes only the most confused ones are drawn, with names."""
LONGEST = 14
"""Characters of a class's name beside the matrix."""
WORST = 3


def confusion(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield a confusion matrix for each network."""
    measured = [(entry, entry.predictions) for entry in entries if entry.predictions]
    if not measured:
        return
    named = all(len(_drawn(entry, predictions)) <= MOST_NAMED for entry, predictions in measured)
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


def _drawn(entry: Entry, predictions: SplitPredictions) -> list[int]:
    """Return the classes that are drawn: all, or those that are confused most where there are too many."""
    total = len(entry.run.classes)
    if total <= MOST_DRAWN:
        return list(range(total))
    pairs = predictions.measures.most_confused(MOST_NAMED)
    found = list(dict.fromkeys(at for pair in pairs for at in (pair.truth, pair.predicted_as)))
    return sorted((found or list(range(total)))[:MOST_NAMED])


def _left_out(measured: Sequence[tuple[Entry, SplitPredictions]]) -> str:
    drawn = [(len(_drawn(entry, predictions)), len(entry.run.classes)) for entry, predictions in measured]
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
        f"Confusion matrix of {entry.title}: best recall {best.name}, {best.correct:,} of {best.images:,} images; "
        f"worst {worst.name}, {worst.correct:,} of {worst.images:,}. {_finding(entry, predictions)}"
    )


def _plot(entry: Entry, predictions: SplitPredictions) -> go.Figure:
    drawn = _drawn(entry, predictions)
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
        cells = _cells(counts.tolist(), shares, diagonal)
        plot.add_heatmap(
            x=names, y=names, z=cells, colorscale=heat_scale(scale), **_style(cells, counts.tolist(), names, few)
        )
    return plot


def _cells(counts: list[list[int]], shares: list[list[float]], diagonal: bool) -> list[list[float | None]]:
    """Return the shares on the diagonal, or those beside it; None elsewhere and where there are no images."""
    return [
        [
            round(share, 4) if (row == column) is diagonal and counts[row][column] else None
            for column, share in enumerate(line)
        ]
        for row, line in enumerate(shares)
    ]


def _style(cells: list[list[float | None]], counts: list[list[int]], names: Sequence[str], few: bool) -> dict[str, Any]:
    shown = [value for line in cells for value in line if value is not None]
    texts = [
        ["" if cell is None else str(count) for cell, count in zip(*lines, strict=True)]
        for lines in zip(cells, counts, strict=True)
    ]
    style: dict[str, Any] = {
        "zmin": 0,
        "zmax": max(shown, default=1.0),
        "xgap": 1 if few else 0,
        "ygap": 1 if few else 0,
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": "%{y} predicted as %{x}: %{text} images, %{z:.1%}<extra></extra>",
        "text": texts,
    }
    if few:  # the axes have shortened names; many would make the page large
        style |= {
            "customdata": [[f"{row} predicted as {column}" for column in names] for row in names],
            "hovertemplate": "%{customdata}: %{text} images, %{z:.1%}<extra></extra>",
            "texttemplate": "%{text}",
            "textfont": {"size": 10},
        }
    return style

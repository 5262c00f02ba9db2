"""Figures of an evaluation: confusion matrix and reliability diagram."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, heat_scale, symbol
from convwright.display.wording import all_shortened, counted
from convwright.evaluation.measures import Measures

MOST_NAMED = 20
"""Most classes whose names and counts are written beside and in the matrix; of more, they appear on hover only."""
MOST_DRAWN = 100
"""Most classes that are drawn; of more, only the classes that are confused most are."""
LONGEST = 14
"""Characters of a class's name beside the matrix."""
FEW = 10
"""A share of fewer images than this is uncertain; the markers of such bins are open."""


def evaluation_figure(title: str, classes: Sequence[str], measures: Measures) -> Figure:
    """Return the confusion matrix and the reliability diagram of a network.

    Args:
        title: Name of the network.
        classes: Names of the classes.
        measures: What was measured.
    """
    drawn = drawn_classes(measures)
    left_out = f" Only {len(drawn)} of {len(classes):,} classes are drawn." if len(drawn) < len(classes) else ""
    error = f"{measures.calibration_error:.1%}"
    return Figure(
        "evaluation",
        f"Confusion matrix and calibration of {title}",
        "Confusion matrix: each row is a class, each column a predicted class; correct predictions are blue, others "
        "orange, and the darker, the larger the share of the row's images."
        f"{left_out} Reliability diagram: accuracy by confidence, in 15 bins. On the dotted line, predictions with a "
        f"probability of 80\u00a0% are right in 80\u00a0% of the cases; open markers have fewer than {FEW} images. "
        f"Expected calibration error: {error}.",
        (
            Panel("Confusion matrix", confusion_plot(classes, measures), confusion_text(title, classes, measures)),
            Panel("Reliability", reliability_plot(title, measures), f"Expected calibration error {error}."),
        ),
    )


def confusion_text(title: str, classes: Sequence[str], measures: Measures) -> str:
    """Return the best and the worst class of a confusion matrix in words."""
    scores = [score for score in measures.class_scores(tuple(classes)) if score.recall is not None]
    best, worst = (choose(scores, key=lambda score: score.recall or 0.0) for choose in (max, min))
    return (
        f"Confusion matrix of {title}: best class {best.name}, {best.correct:,} of {best.images:,} images correct; "
        f"worst {worst.name}, {worst.correct:,} of {worst.images:,}."
    )


def drawn_classes(measures: Measures) -> list[int]:
    """Return the classes that are drawn: all, or of too many those that are confused most."""
    total = measures.pairs.classes
    if total <= MOST_DRAWN:
        return list(range(total))
    pairs = measures.most_confused(MOST_NAMED)
    found = list(dict.fromkeys(index for pair in pairs for index in (pair.truth, pair.predicted_as)))
    return sorted((found or list(range(total)))[:MOST_NAMED])


def confusion_plot(classes: Sequence[str], measures: Measures) -> go.Figure:
    """Return a confusion matrix as a plot.

    Args:
        classes: Names of the classes.
        measures: What was measured.
    """
    drawn = drawn_classes(measures)
    names = [escape(classes[index]) for index in drawn]
    counts = measures.pairs.among(drawn)
    shares = (counts / measures.pairs.by_class[drawn, None].clamp(min=1)).tolist()
    few = len(names) <= MOST_NAMED
    plot = matrix_plot([classes[index] for index in drawn], "predicted class")
    for diagonal, scale in ((True, "heat"), (False, "fault")):
        cells = heat_cells(counts.tolist(), shares, diagonal)
        style = heat_style(cells, counts.tolist(), names, few)
        plot.add_heatmap(x=names, y=names, z=cells, colorscale=heat_scale(scale), **style)
    return plot


def matrix_plot(classes: Sequence[str], title: str) -> go.Figure:
    """Return an empty plot for a matrix of classes; the names of few classes are beside it.

    Args:
        classes: Names of the classes.
        title: What the columns are.
    """
    few = len(classes) <= MOST_NAMED
    ticks: dict[str, Any] = {"showgrid": False, "showline": False, "constrain": "domain", "type": "category"}
    ticks["ticks"] = ""
    if few:
        ticks |= {"tickvals": [escape(name) for name in classes], "ticktext": tick_names(classes)}
    else:
        ticks["showticklabels"] = False
    return empty_plot(
        height=27 * len(classes) + 120 if few else 420,
        x=axis(title=title, side="bottom", tickangle=-90 if few else 0, **ticks),
        y=axis(title="" if few else "class", autorange="reversed", **ticks),
    )


def tick_names(names: Sequence[str]) -> list[str]:
    """Return names of classes as they are written beside an axis: short, distinct, and as HTML."""
    return [escape(name, quote=False) for name in all_shortened(names, LONGEST)]


def reliability_plot(title: str, measures: Measures) -> go.Figure:
    """Return accuracy by confidence as a plot.

    Args:
        title: Name of the network.
        measures: What was measured.
    """
    plot = empty_plot(
        height=360,
        x=axis(range=[-0.02, 1.02], title="confidence", tickformat=".0%", nticks=6),
        y=axis(range=[-0.02, 1.02], title="accuracy", tickformat=".0%", nticks=6),
    )
    line = {"color": "var(--muted)", "width": 1, "dash": "dot"}
    plot.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, hoverinfo="skip")
    add_reliability(plot, 0, title, measures)
    return plot


def add_reliability(plot: go.Figure, index: int, title: str, measures: Measures) -> None:
    """Add a network's accuracy by confidence to a plot.

    Args:
        plot: The plot.
        index: Number of the network, for its colour and marker.
        title: Name of the network.
        measures: What was measured.
    """
    filled = [part for part in measures.reliability if part.images]
    plot.add_scatter(
        x=[part.confidence for part in filled],
        y=[part.accuracy for part in filled],
        customdata=[f"{part.images:,}" for part in filled],
        mode="lines+markers",
        line={"color": colour(index), "width": 2},
        marker={"size": 8, "symbol": [symbol(index) + ("" if part.images >= FEW else "-open") for part in filled]},
        cliponaxis=False,
        hovertemplate=f"{escape(title)}: confidence %{{x:.1%}}, accuracy %{{y:.1%}} of %{{customdata}}<extra></extra>",
    )


def heat_cells(counts: list[list[int]], shares: list[list[float]], diagonal: bool) -> list[list[float | None]]:
    """Return the cells of a confusion matrix that are on the diagonal, or those beside it.

    Args:
        counts: Numbers of images by class and predicted class.
        shares: Shares of the images of the class.
        diagonal: Whether the cells on the diagonal are returned.

    Returns:
        The shares; None elsewhere and where there are no images.
    """
    return [
        [
            round(share, 4) if (row == column) is diagonal and counts[row][column] else None
            for column, share in enumerate(line)
        ]
        for row, line in enumerate(shares)
    ]


def heat_style(
    cells: list[list[float | None]], counts: list[list[int]], names: Sequence[str], few: bool
) -> dict[str, Any]:
    """Return the options of a heat map of a confusion matrix.

    Args:
        cells: Shares, as `heat_cells` returns them.
        counts: Numbers of images.
        names: Names of the classes, as HTML.
        few: Whether there is room for the numbers in the cells.
    """
    shown = [value for line in cells for value in line if value is not None]
    texts = [
        [
            "" if cell is None else str(count) if few else counted(count, "image")
            for cell, count in zip(*lines, strict=True)
        ]
        for lines in zip(cells, counts, strict=True)
    ]
    style: dict[str, Any] = {
        **{"zmin": 0, "zmax": max(shown, default=1.0), "showscale": False, "hoverongaps": False, "text": texts},
        **{"xgap": int(few), "ygap": int(few)},
        "hovertemplate": "%{y} predicted as %{x}: %{text}, %{z:.1%}<extra></extra>",
    }
    if few:  # the axes have shortened names; whole names in every cell would make a larger page too large
        style |= {
            "customdata": [
                [
                    f"{row} predicted as {column}: {counted(count, 'image')}"
                    for column, count in zip(names, line, strict=True)
                ]
                for row, line in zip(names, counts, strict=True)
            ],
            "hovertemplate": "%{customdata}, %{z:.1%}<extra></extra>",
            "texttemplate": "%{text}",
            "textfont": {"size": 10},
        }
    return style

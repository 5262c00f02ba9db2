"""Learning curves: loss and accuracy, or mean average precision, during training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, log_axis, symbol
from convwright.display.plotly_figures import PALETTE, as_plotly
from convwright.display.wording import percent
from convwright.reporting.entry import Entry, images_seen
from convwright.reporting.titles import titles
from convwright.training.records import measure_of
from convwright.training.run import Run

MOST_MARKERS = 24
"""A curve with more points than this is drawn without a marker at each."""
KINDS = (("validation", "val", "solid", 2.5, 8), ("training", "train", "dot", 1.5, 5))
"""Name, prefix of the columns, dash, width and size of the markers of each line."""
MEASURES = {"accuracy": "accuracy", "map": "mean average precision"}
"""What the columns of `metrics.csv` that runs are judged by are called."""
LOSSES = {"accuracy": "cross-entropy", "map": "binary cross-entropy, summed over classes"}
LOG_LOSS = 8
"""Where the largest loss is this many times the smallest, the axis is logarithmic."""


@dataclass(frozen=True)
class Curve:
    """The validations of one run."""

    title: str
    rows: Sequence[Mapping[str, float]]
    """Loss and accuracy of each validation, by column of `metrics.csv`."""
    images_seen: Sequence[float]
    """Training images that the network had seen by each validation."""


def learning_curve_figure(runs: Sequence[Run]) -> go.Figure:
    """Draw the learning curves of runs as one Plotly figure.

    Args:
        runs: The runs, finished or not; those without a validation have no curve.
    """
    named = zip(titles([run.path for run in runs]), runs, strict=True)
    figure = learning_curves([Curve(title, run.metrics, images_seen(run)) for title, run in named])
    keys = tuple((colour(index), curve) for index, curve in enumerate(titles([run.path for run in runs])))
    plot = as_plotly(replace(figure, keys=keys if len(runs) > 1 else ()))
    for name, _, dash, width, _ in KINDS:
        line = {"color": PALETTE["--muted"], "dash": dash, "width": width}
        plot.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name, showlegend=True)
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.06, "yanchor": "bottom"}
    return plot.update_layout(showlegend=True, legend=legend)


def learning_curves_of(entries: Sequence[Entry]) -> Figure:
    """Draw the learning curves of the networks of a report."""
    return learning_curves([Curve(entry.title, entry.run.metrics, entry.images_seen) for entry in entries])


def learning_curves(curves: Sequence[Curve]) -> Figure:
    """Draw loss and accuracy, in training and in validation, against the training images seen."""
    every = [row for curve in curves for row in curve.rows]
    score = "map" if any("val_map" in row for row in every) else "accuracy"
    measure = MEASURES[score]
    accuracy = _plot(curves, score, axis(tickformat=".0%", nticks=6))
    losses = [row[name] for row in every for name in ("train_loss", "val_loss")]
    losses = [loss for loss in losses if 0 < loss < math.inf]
    logarithmic = bool(losses) and max(losses) >= LOG_LOSS * min(losses)
    loss = _plot(curves, "loss", log_axis(losses, room=0.05) if logarithmic else axis(rangemode="tozero"))
    ends = [(curve.title, curve.rows[-1]) for curve in curves if curve.rows]
    accuracies = ", ".join(f"{title} {percent(measure_of(row)[1])}" for title, row in ends)
    final_losses = ", ".join(f"{title} {row['val_loss']:.3g}" for title, row in ends)
    return Figure(
        "curves",
        "Learning curves",
        "Each point is one validation during training. Solid lines: validation images, which are held out of training. "
        "Dotted lines: the training images since the previous validation, augmented and measured while the weights "
        "still changed, so that they can be worse than the validation images.",
        (
            Panel(
                measure.capitalize(),
                accuracy,
                f"Line chart; validation {measure} at the end of training: {accuracies}.",
            ),
            Panel(
                f"Loss ({LOSSES[score]}" + (", logarithmic)" if logarithmic else ")"),
                loss,
                f"Line chart; validation loss at the end of training: {final_losses}.",
            ),
        ),
        legend=True,
        curves=True,
    )


def _plot(curves: Sequence[Curve], measure: str, y_axis: dict[str, Any]) -> go.Figure:
    plot = empty_plot(height=330, x=axis(title="training images seen", rangemode="tozero", tickformat="~s"), y=y_axis)
    for kind, key, dash, width, size in reversed(KINDS):
        for index, curve in enumerate(curves):
            values = [row.get(f"{key}_{measure}") for row in curve.rows]
            if values and not any(value is not None for value in values):
                continue  # mean average precision is measured on validation images alone
            shown = "%{y:.3g}" if measure == "loss" else "%{y:.1%}"
            plot.add_scatter(
                x=list(curve.images_seen),
                y=values,
                mode="lines+markers" if len(curve.rows) <= MOST_MARKERS else "lines",
                line={"color": colour(index), "dash": dash, "width": width},
                marker={"symbol": symbol(index) + ("-open" if key == "train" else ""), "size": size},
                cliponaxis=False,
                hovertemplate=f"{escape(curve.title)}, {kind}: {shown}<extra></extra>",
            )
    plot.update_layout(hovermode="x unified")
    return plot

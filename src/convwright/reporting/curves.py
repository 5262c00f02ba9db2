"""Learning curves: loss and accuracy during training."""

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
from convwright.training.run import Run

MOST_MARKERS = 24
"""A curve with more points than this is drawn without a marker at each."""
KINDS = (("validation", "val", "solid", 2.5, 8), ("training", "train", "dot", 1.5, 5))
"""Name, prefix of the columns, dash, width and size of the markers of each line."""
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
    accuracy = _plot(curves, "accuracy", axis(tickformat=".0%", nticks=6))
    losses = [row[name] for curve in curves for row in curve.rows for name in ("train_loss", "val_loss")]
    losses = [loss for loss in losses if 0 < loss < math.inf]
    logarithmic = bool(losses) and max(losses) >= LOG_LOSS * min(losses)
    loss = _plot(curves, "loss", log_axis(losses, room=0.05) if logarithmic else axis(rangemode="tozero"))
    ends = [(curve.title, curve.rows[-1]) for curve in curves if curve.rows]
    accuracies = ", ".join(f"{title} {percent(row['val_accuracy'])}" for title, row in ends)
    final_losses = ", ".join(f"{title} {row['val_loss']:.3g}" for title, row in ends)
    return Figure(
        "curves",
        "Learning curves",
        "Each point is one validation during training. Solid lines: validation images, which are held out of training. "
        "Dotted lines: the training images since the previous validation, augmented and measured while the weights "
        "still changed, so that they can be worse than the validation images.",
        (
            Panel("Accuracy", accuracy, f"Line chart; validation accuracy at the end of training: {accuracies}."),
            Panel(
                "Loss (cross-entropy" + (", logarithmic)" if logarithmic else ")"),
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
            shown = "%{y:.1%}" if measure == "accuracy" else "%{y:.3g}"
            plot.add_scatter(
                x=list(curve.images_seen),
                y=[row[f"{key}_{measure}"] for row in curve.rows],
                mode="lines+markers" if len(curve.rows) <= MOST_MARKERS else "lines",
                line={"color": colour(index), "dash": dash, "width": width},
                marker={"symbol": symbol(index) + ("-open" if key == "train" else ""), "size": size},
                cliponaxis=False,
                hovertemplate=f"{escape(curve.title)}, {kind}: {shown}<extra></extra>",
            )
    plot.update_layout(hovermode="x unified")
    return plot

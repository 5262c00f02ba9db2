"""How the networks learnt."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convwright.reporting.entry import Entry
from convwright.reporting.figures import Figure, Panel, axis, colour, empty_plot, log_axis, symbol
from convwright.reporting.wording import percent

MOST_MARKERS = 24
"""A curve with more points than this is drawn without a marker at each."""
LOG_LOSS = 8
"""Where the largest loss is this many times the smallest, the axis is logarithmic."""


def learning_curves(entries: Sequence[Entry]) -> Figure:
    """Draw loss and accuracy, in training and in validation, against the images seen."""
    accuracy = _curves(entries, "accuracy", axis(tickformat=".0%", nticks=6))
    losses = [row[name] for entry in entries for row in entry.run.metrics for name in ("train_loss", "val_loss")]
    losses = [loss for loss in losses if 0 < loss < math.inf]
    logarithmic = bool(losses) and max(losses) >= LOG_LOSS * min(losses)
    loss = _curves(entries, "loss", log_axis(losses, room=0.05) if logarithmic else axis(rangemode="tozero"))
    ends = [(entry.title, entry.run.metrics[-1]) for entry in entries if entry.run.metrics]
    accuracies = ", ".join(f"{title} {percent(row['val_accuracy'])}" for title, row in ends)
    final_losses = ", ".join(f"{title} {row['val_loss']:.3g}" for title, row in ends)
    return Figure(
        "curves",
        "Learning curves",
        "Each point is one validation in the course of training. Solid lines: images held out of training. Dotted "
        "lines: the training images since the point before, as augmentation left them and while weights still "
        "changed, so that they may well lie on the worse side.",
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


def _curves(entries: Sequence[Entry], what: str, y_axis: dict[str, Any]) -> go.Figure:
    plot = empty_plot(height=330, x=axis(title="training images seen", rangemode="tozero", tickformat="~s"), y=y_axis)
    kinds = (("train", "training", "dot", 1.5, 5), ("val", "validation", "solid", 2.5, 8))
    for key, kind, dash, width, size in kinds:
        for index, entry in enumerate(entries):
            rows = entry.run.metrics
            shown = "%{y:.1%}" if what == "accuracy" else "%{y:.3g}"
            plot.add_scatter(
                x=entry.images_seen,
                y=[row[f"{key}_{what}"] for row in rows],
                mode="lines+markers" if len(rows) <= MOST_MARKERS else "lines",
                line={"color": colour(index), "dash": dash, "width": width},
                marker={"symbol": symbol(index) + ("-open" if key == "train" else ""), "size": size},
                cliponaxis=False,
                hovertemplate=f"{escape(entry.title)}, {kind}: {shown}<extra></extra>",
            )
    plot.update_layout(hovermode="x unified")
    return plot

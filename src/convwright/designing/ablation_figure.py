"""The figure of an ablation: the effect of each idea with its interval."""

from collections.abc import Sequence
from html import escape

from convwright.designing.effect import Effect
from convwright.display.figures import Figure, Panel, axis, colour, empty_plot

PAPERS = ("SENet", "DenseNet", "EfficientNet")


def effects_figure(effects: Sequence[Effect], split: str) -> Figure:
    """Return the difference that each idea makes, a point with its interval for each.

    Args:
        effects: The effects.
        split: The images that accuracies are measured on.
    """
    rows = list(range(len(effects)))[::-1]
    reach = max((abs(each.difference.value) + (each.difference.margin or 0) for each in effects), default=0.01)
    plot = empty_plot(
        height=90 + 46 * len(effects),
        x=axis(range=[-110 * reach, 110 * reach], nticks=7) | {"title": {"text": "percentage points of accuracy"}},
        y=axis(range=[-0.6, len(effects) - 0.4])
        | {"tickvals": rows, "ticktext": [escape(each.idea.name) for each in effects], "showgrid": False},
    )
    plot.add_vline(x=0, line={"color": "var(--muted)", "width": 1})
    for row, effect in zip(rows, effects, strict=True):
        number = PAPERS.index(effect.idea.paper)
        plot.add_scatter(
            x=[100 * effect.difference.value],
            y=[row],
            mode="markers",
            marker={"color": colour(number), "size": 11},
            error_x={"type": "data", "array": [100 * (effect.difference.margin or 0)], "color": colour(number)},
            hovertemplate=f"{escape(effect.sentence)}<extra></extra>",
        )
    return Figure(
        "effects",
        "What each idea changes",
        f"Difference of the accuracies on {split} images with and without each idea, paired by seed. Bars are "
        "simultaneous 95\u00a0% intervals for all comparisons.",
        (Panel("With the idea minus without it", plot, " ".join(each.sentence for each in effects)),),
        keys=tuple((colour(number), name) for number, name in enumerate(PAPERS)),
        findings=tuple(each.sentence for each in effects),
    )

"""Figures of a multi-label evaluation: average precision and F1 by class, and co-occurrence."""

from collections.abc import Sequence
from html import escape
from typing import Any

from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, heat_scale
from convwright.display.wording import percent
from convwright.evaluation.figures import MOST_NAMED, matrix_plot, tick_names
from convwright.evaluation.multi_label import LabelScore, MultiLabelMeasures

MOST_DRAWN = 40
"""Most classes that are drawn; of more, those of lowest average precision, or the most frequent ones."""


def multi_label_figure(title: str, classes: Sequence[str], measures: MultiLabelMeasures) -> Figure:
    """Return scores by class and co-occurrence of a network.

    Args:
        title: Name of the network.
        classes: Names of the classes.
        measures: What was measured.
    """
    return Figure(
        "evaluation",
        f"Classes of {title}",
        f"{SCORES_CAPTION} {COOCCURRENCE_CAPTION}",
        (class_panel("By class", title, classes, measures), cooccurrence_panel("Together", classes, measures)),
    )


SCORES_CAPTION = (
    "By class: average precision (filled), over all thresholds, and F1 (open) at the threshold, that of "
    "highest F1 on the validation images."
)
COOCCURRENCE_CAPTION = (
    "Together: of the images of the row's class, the share that also has the column's class; the darker, the larger."
)


def class_panel(heading: str, title: str, classes: Sequence[str], measures: MultiLabelMeasures) -> Panel:
    """Return average precision and F1 by class as a plot.

    Args:
        heading: Heading of the plot.
        title: Name of the network.
        classes: Names of the classes.
        measures: What was measured.
    """
    scores = drawn_scores(measures.class_scores(classes))
    names = tick_names([score.name for score in scores])
    rows = list(range(len(scores)))
    plot = empty_plot(
        height=24 * len(scores) + 90,
        x=axis(range=[-0.02, 1.02], tickformat=".0%", nticks=6),
        y=axis(range=[len(scores) - 0.4, -0.6], tickvals=rows, ticktext=names, showgrid=True),
    )
    for label, mark, values in (
        ("AP", "circle", [score.average_precision for score in scores]),
        ("F1", "diamond-open", [score.f1 for score in scores]),
    ):
        plot.add_scatter(
            x=values,
            y=rows,
            customdata=[escape(score.name) for score in scores],
            mode="markers",
            marker={"color": colour(0), "symbol": mark, "size": 9},
            cliponaxis=False,
            hovertemplate=f"%{{customdata}}: {label} %{{x:.1%}}<extra></extra>",
        )
    return Panel(heading, plot, class_text(title, classes, measures))


def drawn_scores(scores: Sequence[LabelScore]) -> list[LabelScore]:
    """Return the classes that are drawn: all that have images, or of too many those of lowest average precision."""
    known = [score for score in scores if score.average_precision is not None]
    if len(known) <= MOST_DRAWN:
        return known
    return sorted(known, key=lambda score: score.average_precision or 0.0)[:MOST_DRAWN]


def class_text(title: str, classes: Sequence[str], measures: MultiLabelMeasures) -> str:
    """Return the best and the worst class in words."""
    scores = [score for score in measures.class_scores(classes) if score.average_precision is not None]
    best, worst = (choose(scores, key=lambda score: score.average_precision or 0.0) for choose in (max, min))
    found = [f"{score.name} {percent(score.average_precision or 0.0)}" for score in (best, worst)]
    return f"Average precision by class of {title}: best {found[0]}, worst {found[1]}."


def cooccurrence_panel(heading: str, classes: Sequence[str], measures: MultiLabelMeasures) -> Panel:
    """Return how often classes occur together as a heat map.

    Args:
        heading: Heading of the plot.
        classes: Names of the classes.
        measures: What was measured.
    """
    counts = measures.cooccurrence
    sizes = counts.diagonal()
    frequent = sizes.argsort(descending=True, stable=True)[:MOST_DRAWN]
    drawn = sorted(place for place in frequent.tolist() if sizes[place])
    shares = (counts[drawn][:, drawn] / sizes[drawn][:, None]).tolist()
    cells = [[None if row == column else value for column, value in enumerate(line)] for row, line in enumerate(shares)]
    texts = [[str(int(counts[row, column])) for column in drawn] for row in drawn]
    names = [escape(classes[place]) for place in drawn]
    few = len(names) <= MOST_NAMED
    plot = matrix_plot([classes[place] for place in drawn], "also has")
    plot.add_heatmap(
        x=names,
        y=names,
        z=cells,
        zmin=0,
        zmax=1,
        showscale=False,
        hoverongaps=False,
        text=texts,
        xgap=int(few),
        ygap=int(few),
        colorscale=heat_scale("heat"),
        hovertemplate="%{y} with %{x}: %{text} images, %{z:.1%}<extra></extra>",
        **({"texttemplate": "%{text}", "textfont": {"size": 10}} if few else {}),
    )
    return Panel(heading, plot, _together_text(classes, counts))


def _together_text(classes: Sequence[str], counts: Any) -> str:
    apart = counts.clone().fill_diagonal_(0)
    most = int(apart.max()) if len(apart) else 0
    if not most:
        return "Co-occurrence of classes: no image has two classes."
    one, other = divmod(int(apart.argmax()), len(apart))
    return f"Co-occurrence of classes: most often {classes[one]} and {classes[other]}, in {most:,} images."

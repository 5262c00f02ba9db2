"""How `evaluate` shows a network's measures: as tables for people."""

from typing import TYPE_CHECKING

from convwright.display.table import paragraph, table

if TYPE_CHECKING:
    from convwright.evaluation.measures import ClassScore, Measures

LARGEST_MATRIX = 20
"""Classes; beyond that a confusion matrix says less than its worst pairs."""
CLASSES_SHOWN = 40
PAIRS_SHOWN = 10
WIDEST_HEAD = 6
"""Longer names would make the matrix wider than a terminal; its columns are numbered then."""


def as_text(result: "Measures", classes: tuple[str, ...]) -> str:
    """Return all below the headline: top-5 and calibration, the classes, and what is taken for what."""
    lines = []
    if result.top5 is not None and result.top5_interval is not None:
        low, high = result.top5_interval
        lines.append(f"top-5 accuracy {result.top5:.2%} (95 % interval {low:.2%} to {high:.2%})")
    lines.append(
        f"calibration error {result.calibration_error:.2%}: by so much the probability of an answer is off, on average"
    )
    return "\n".join([*lines, "", _class_table(result, classes), "", _confusion(result, classes)])


def _class_table(result: "Measures", classes: tuple[str, ...]) -> str:
    scores = result.class_scores(classes)
    shown = scores
    if len(scores) > CLASSES_SHOWN:
        shown = sorted(scores, key=lambda score: (score.f1 is None, score.f1))[:CLASSES_SHOWN]
    rows = [
        (
            score.name,
            f"{score.images:,}",
            _percent(score.precision),
            _percent(score.recall),
            _between(score.recall_interval),
            _percent(score.f1),
            "",
        )
        for score in shown
    ]
    titles = ("class", "images", "precision", "recall", "95 % interval", "F1", "")
    text = table(titles, rows)
    if len(shown) < len(scores):
        text += f"\nthe {len(shown)} classes of lowest F1; --json tells all {len(scores)}"
    return text


def _confusion(result: "Measures", classes: tuple[str, ...]) -> str:
    if len(classes) > LARGEST_MATRIX:
        return _worst_pairs(result, classes)
    heads, names = classes, classes
    if max(map(len, classes)) > WIDEST_HEAD:
        heads = tuple(f"({number})" for number in range(1, len(classes) + 1))
        names = tuple(f"{head:>4} {name}" for head, name in zip(heads, classes, strict=True))
    rows = [
        (name, *(f"{count:,}" if count else "·" for count in counts), "")
        for name, counts in zip(names, result.confusion.tolist(), strict=True)
    ]
    return table(("shown (down), taken for (across)", *heads, ""), rows)


def _worst_pairs(result: "Measures", classes: tuple[str, ...]) -> str:
    scores: list[ClassScore] = result.class_scores(classes)
    rows = [
        (
            classes[pair.truth],
            classes[pair.predicted_as],
            f"{pair.images:,}",
            f"{pair.images / scores[pair.truth].images:.1%}",
            "",
        )
        for pair in result.most_confused(PAIRS_SHOWN)
    ]
    if not rows:
        return paragraph("No image was taken for another class.")
    return table(("most often confused", "taken for", "images", "of the class", ""), rows, left=2)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _between(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"

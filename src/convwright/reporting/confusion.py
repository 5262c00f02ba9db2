"""Confusion matrices."""

from collections.abc import Iterator, Sequence

from convwright.display.figures import Figure, Panel
from convwright.display.wording import counted, listed
from convwright.evaluation.figures import MOST_NAMED, confusion_plot, drawn_classes
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
            Panel(entry.title, confusion_plot(entry.run.classes, predictions.measures), _alt(entry, predictions))
            for entry, predictions in measured
        ),
        findings=tuple(_finding(entry, predictions) for entry, predictions in measured),
    )


def _left_out(measured: Sequence[tuple[Entry, SplitPredictions]]) -> str:
    drawn = [(len(drawn_classes(predictions.measures)), len(entry.run.classes)) for entry, predictions in measured]
    some = listed(dict.fromkeys(f"{few} of {total:,}" for few, total in drawn if few < total) or [""])
    return f" Only the classes that a network confuses most are drawn: {some}." if some else ""


def _finding(entry: Entry, predictions: SplitPredictions) -> str:
    classes, measures = entry.run.classes, predictions.measures
    sizes = measures.pairs.by_class.tolist()
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

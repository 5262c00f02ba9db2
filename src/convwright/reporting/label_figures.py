"""Figures of multi-label networks: scores by class, co-occurrence, and errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.display.wording import counted, listed, percent
from convwright.evaluation.multi_label_figures import (
    COOCCURRENCE_CAPTION,
    SCORES_CAPTION,
    class_panel,
    cooccurrence_panel,
)
from convwright.explain.images import truth_text
from convwright.reporting.entry import Entry
from convwright.reporting.mistakes import FEWER_SHOWN, MOST_SHOWN
from convwright.reporting.predicted import LabelPredictions

SURE = 0.9
WORST = 3

Measured = tuple[Entry, LabelPredictions]


def label_figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield scores by class, co-occurrence and errors of multi-label networks."""
    measured = [(entry, entry.label_predictions) for entry in entries if entry.label_predictions]
    if measured:
        yield _scores(measured)
        yield _together(measured)
        yield from _mistakes(measured)


def _scores(measured: Sequence[Measured]) -> Figure:
    return Figure(
        "labels",
        "Average precision and F1 by class",
        _sentence(SCORES_CAPTION),
        tuple(class_panel(e.title, e.title, e.run.classes, found.measures) for e, found in measured),
        findings=tuple(_scores_finding(entry, found) for entry, found in measured),
    )


def _sentence(caption: str) -> str:
    """Return a caption without the name of its plot."""
    text = caption.partition(": ")[2]
    return text[0].upper() + text[1:]


def _scores_finding(entry: Entry, found: LabelPredictions) -> str:
    scores = found.measures.class_scores(entry.run.classes)
    known = [(score.average_precision, score.name) for score in scores if score.average_precision is not None]
    worst = listed(f"{name} ({percent(value)})" for value, name in sorted(known)[:WORST])
    absent = [score.name for score in scores if score.average_precision is None]
    unknown = f" Without images, and left out: {listed(absent)}." if absent else ""
    micro, macro = found.measures.micro_f1, found.measures.macro_f1
    f1 = "" if micro is None or macro is None else f"F1 {percent(micro)} over all labels, {percent(macro)} by class; "
    return f"{entry.title}: {f1}lowest average precision {worst}.{unknown}"


def _together(measured: Sequence[Measured]) -> Figure:
    # Networks on the same images share their labels.
    different = {found.images_key: (entry, found) for entry, found in reversed(measured)}
    named = [(entry.title if len(different) > 1 else "Labels", entry, found) for entry, found in different.values()]
    return Figure(
        "cooccurrence",
        "Classes that occur together",
        _sentence(COOCCURRENCE_CAPTION) + " Numbers are images.",
        tuple(cooccurrence_panel(title, entry.run.classes, found.measures) for title, entry, found in named),
    )


def _mistakes(measured: Sequence[Measured]) -> Iterator[Figure]:
    wrong = [(entry, found) for entry, found in measured if found.mistakes]
    if not wrong:
        return
    most = MOST_SHOWN if len(wrong) == 1 else FEWER_SHOWN
    yield Figure(
        "mistakes",
        "Most confident errors",
        "Classes that are predicted with the highest probability though the image lacks them by its labels, or that "
        "are missed with the lowest: below each image the class with its probability, then the labels of the data. "
        "Some are errors of the network, some may be labels that are missing in the data.",
        galleries=tuple(_gallery(entry, found, most) for entry, found in wrong),
        findings=tuple(_mistakes_finding(entry, found) for entry, found in wrong),
        facts={entry.title: [vars(each) for each in _described(entry, found, most)] for entry, found in wrong},
    )


def _mistakes_finding(entry: Entry, found: LabelPredictions) -> str:
    pairs = torch.tensor(found.mistakes)
    sure = int((found.certainty(pairs) >= SURE).sum())
    extra = int(found.measures.predicted[pairs[:, 0], pairs[:, 1]].sum())
    return (
        f"{entry.title}: {counted(extra, 'class is', 'classes are')} predicted that an image lacks, and "
        f"{counted(len(pairs) - extra, 'is', 'are')} missed; {sure:,} of these with a probability of 90\u00a0% or more."
    )


@dataclass(frozen=True)
class LabelMistake:
    """A class that is predicted for an image without it, or missed."""

    image: str | int
    """Name of the file, or the image's position in its split."""
    labels: tuple[str, ...]
    kind: str
    """`extra` or `missed`."""
    predicted: str
    """The class."""
    probability: float
    """Probability of the class."""


def _described(entry: Entry, found: LabelPredictions, most: int) -> list[LabelMistake]:
    return [
        LabelMistake(
            found.name(row) or row,
            found.classes_of(row),
            "extra" if found.measures.predicted[row, label] else "missed",
            entry.run.classes[label],
            float(found.measures.probabilities[row, label]),
        )
        for row, label in found.mistakes[:most]
    ]


def _gallery(entry: Entry, found: LabelPredictions, most: int) -> Gallery:
    pixels = [as_pixels(image) for image in found.take([row for row, _ in found.mistakes[:most]])]
    pictures = [
        Picture(
            data_uri(image),
            f"{wrong.predicted} {wrong.kind} with {percent(wrong.probability)}; labels: {truth_text(wrong.labels)}",
            (f"{wrong.kind}: {wrong.predicted} {percent(wrong.probability)}", f"data: {truth_text(wrong.labels)}"),
            is_small(image),
        )
        for image, wrong in zip(pixels, _described(entry, found, most), strict=True)
    ]
    return Gallery(entry.title, tuple(pictures))

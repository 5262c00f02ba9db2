"""The most confident errors of networks, which often show odd images and label errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.display.wording import counted, listed, percent
from convwright.reporting.entry import Entry, peers
from convwright.reporting.predicted import SplitPredictions

MOST_SHOWN = 12
FEWER_SHOWN = 8
"""Of each of several networks."""


def mistakes(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the most confident errors of each network."""
    measured = [(entry, entry.predictions) for entry in entries if entry.predictions and entry.predictions.mistakes]
    if not measured:
        return
    most = MOST_SHOWN if len(measured) == 1 else FEWER_SHOWN
    yield Figure(
        "mistakes",
        "Most confident errors",
        "The wrong predictions with the highest confidence: below each image the predicted class with its probability, "
        "then the label of the data. Some are errors of the network, some may be errors in the data.",
        galleries=tuple(_gallery(entry, predictions, most) for entry, predictions in measured),
        findings=(*(_finding(entry, predictions) for entry, predictions in measured), *_shared(entries)),
        facts={
            entry.title: [vars(wrong) for wrong in _mistakes(entry, predictions, most)]
            for entry, predictions in measured
        },
    )


def _finding(entry: Entry, predictions: SplitPredictions) -> str:
    wrong = predictions.mistakes
    sure = sum(1 for row in wrong if predictions.confidence[row] >= 0.9)
    return f"{entry.title}: {counted(len(wrong), 'error')}, {sure:,} of them with a confidence of 90\u00a0% or more."


def _shared(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a sentence on the images that no network predicts correctly."""
    for group in peers(entries):
        predictions = [entry.predictions for _, entry in group if entry.predictions]
        if len(predictions) == len(group):
            none = ~torch.stack([each.correct for each in predictions]).any(0)
            names = listed(entry.title for _, entry in group)
            yield f"{counted(int(none.sum()), 'image is', 'images are')} predicted correctly by none of {names}."


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction."""

    image: str | int
    """Name of the file, or the image's position in its split."""
    label: str
    predicted: str
    probability: float


def _mistakes(entry: Entry, predictions: SplitPredictions, most: int) -> list[Mistake]:
    classes = entry.run.classes
    return [
        Mistake(
            predictions.name(row) or row,
            classes[int(predictions.labels[row])],
            classes[int(predictions.predicted[row])],
            float(predictions.confidence[row]),
        )
        for row in predictions.mistakes[:most]
    ]


def _gallery(entry: Entry, predictions: SplitPredictions, most: int) -> Gallery:
    pixels = [as_pixels(image) for image in predictions.take(predictions.mistakes[:most])]
    pictures = [
        Picture(
            data_uri(image),
            f"{wrong.label} predicted as {wrong.predicted} with {percent(wrong.probability)}",
            (f"{wrong.predicted} {percent(wrong.probability)}", f"label: {wrong.label}"),
            is_small(image),
        )
        for image, wrong in zip(pixels, _mistakes(entry, predictions, most), strict=True)
    ]
    return Gallery(entry.title, tuple(pictures))

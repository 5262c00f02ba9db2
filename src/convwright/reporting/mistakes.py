"""The images that networks are surest about and wrong, to look at: odd images, wrong labels, blind spots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.wording import listed, percent
from convwright.reporting.entry import Answers, Entry, peers
from convwright.display.pictures import as_pixels, data_uri, is_small

MOST_SHOWN = 12
FEWER_SHOWN = 8
"""Of each of several networks."""


def mistakes(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield each network's most confident mistakes."""
    answered = [(entry, entry.answers) for entry in entries if entry.answers and entry.answers.mistakes]
    if not answered:
        return
    most = MOST_SHOWN if len(answered) == 1 else FEWER_SHOWN
    yield Figure(
        "mistakes",
        "The most confident mistakes",
        "The wrong answers given with the highest probabilities: below each image what the network says and how sure "
        "it is, then what the data says. Some are mistakes of the network, some may be mistakes in the data.",
        galleries=tuple(_gallery(entry, answers, most) for entry, answers in answered),
        findings=(*(_told(entry, answers) for entry, answers in answered), *_shared(entries)),
        facts={entry.title: [vars(wrong) for wrong in _mistakes(entry, answers, most)] for entry, answers in answered},
    )


def _told(entry: Entry, answers: Answers) -> str:
    wrong = answers.mistakes
    sure = sum(1 for row in wrong if answers.confidence[row] >= 0.9)
    return f"{entry.title}: {len(wrong):,} mistakes, {sure:,} of them with 90\u00a0% or more."


def _shared(entries: Sequence[Entry]) -> Iterator[str]:
    """Say how many images no network recognises."""
    for group in peers(entries):
        answers = [entry.answers for _, entry in group if entry.answers]
        if len(answers) == len(group):
            none = ~torch.stack([answer.right for answer in answers]).any(0)
            yield f"{int(none.sum()):,} images are recognised by none of {listed(entry.title for _, entry in group)}."


@dataclass(frozen=True)
class Mistake:
    """A wrong answer."""

    image: str | int
    """The file's name, or the image's place among those of its split."""
    label: str
    predicted: str
    probability: float


def _mistakes(entry: Entry, answers: Answers, most: int) -> list[Mistake]:
    classes = entry.run.classes
    return [
        Mistake(
            answers.name(row) or row,
            classes[int(answers.labels[row])],
            classes[int(answers.predicted[row])],
            float(answers.confidence[row]),
        )
        for row in answers.mistakes[:most]
    ]


def _gallery(entry: Entry, answers: Answers, most: int) -> Gallery:
    pixels = [as_pixels(image) for image in answers.take(answers.mistakes[:most])]
    pictures = [
        Picture(
            data_uri(image),
            f"{wrong.label} taken for {wrong.predicted} with {percent(wrong.probability)}",
            (f"{wrong.predicted} {percent(wrong.probability)}", f"data: {wrong.label}"),
            is_small(image),
        )
        for image, wrong in zip(pixels, _mistakes(entry, answers, most), strict=True)
    ]
    return Gallery(entry.title, tuple(pictures))

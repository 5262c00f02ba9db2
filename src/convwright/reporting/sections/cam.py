"""What networks look at: class activation maps of the same images, network by network (EfficientNet's Figure 7)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.display.wording import listed, percent
from convwright.errors import UsageError
from convwright.explain.activation import ActivationMaps, activation_maps
from convwright.explain.drawing import overlay
from convwright.reporting.entry import Entry, SplitPredictions, peers
from convwright.reporting.wording import measured_on

MOST_SHOWN = 6
"""Images, each of another class."""
METHODS = {"cam": "CAM, Zhou et al. 2016", "grad-cam": "Grad-CAM, Selvaraju et al. 2017"}
HALF = 0.5
HEIGHTS, SIDES = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class Looked:
    """What one network makes of the images that are shown."""

    entry: Entry
    predictions: SplitPredictions
    rows: tuple[int, ...]
    maps: ActivationMaps

    @cached_property
    def halves(self) -> list[float | None]:
        """In what share of each image half of what speaks for the answer lies; None where nothing does."""
        return [concentration(weights) for weights in self.maps.positive]

    @property
    def half(self) -> float | None:
        """The mean of these over the images in which something speaks for the answer; None if it does in none."""
        there = [half for half in self.halves if half is not None]
        return fmean(there) if there else None


def cam_figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the same images as each network sees them, for each set of images that networks were measured on."""
    together = [[entry for _, entry in group] for group in peers(entries)]
    apart = [[entry] for entry in entries if not any(entry in group for group in together)]
    for number, group in enumerate(together + apart, 1):
        measured = [(entry, entry.predictions) for entry in group if entry.predictions]
        if measured:
            yield from _figure(measured, number)


def concentration(weights: np.ndarray) -> float | None:
    """Return the least share of a map's pixels that holds half of its weight: small where it has one clear spot.

    weights: H x W, none negative. None for a map that is empty.
    """
    if not weights.any():
        return None
    ranked = np.sort(weights, axis=None)[::-1].cumsum(dtype=np.float64)
    return float(np.searchsorted(ranked, HALF * ranked[-1]) + 1) / ranked.size


def _figure(measured: Sequence[tuple[Entry, SplitPredictions]], number: int) -> Iterator[Figure]:
    rows = _one_a_class(measured[0][1])
    looked, left_out = [], []
    for entry, predictions in measured:
        try:
            looked.append(
                Looked(entry, predictions, rows, activation_maps(predictions.predictor, list(predictions.take(rows))))
            )
        except UsageError as error:  # a network without maps of several pixels
            left_out.append(f"{entry.title} is left out: {error}.")
    if not looked:
        return
    methods = listed(dict.fromkeys(METHODS.get(one.maps.method, one.maps.method) for one in looked))
    yield Figure(
        "cam" if number == 1 else f"cam-{number}",
        "What the networks look at" if len(looked) > 1 else f"What {looked[0].entry.title} looks at",
        f"Class activation maps ({methods}) for what each network answers, laid over the image; the brighter, the more "
        f"a place speaks for the answer. The images are the first of {len(rows)} classes among the "
        f"{measured_on(looked[0].entry)}, not chosen by what comes out.",
        galleries=(_images(looked[0]), *map(_gallery, looked)),
        findings=(*map(_told, looked), *left_out),
        facts=[_as_json(one) for one in looked],
    )


def _one_a_class(predictions: SplitPredictions) -> tuple[int, ...]:
    """Return the position of the first image of each of some classes, evenly spaced among those that have images."""
    labels = predictions.labels.tolist()
    there = sorted(set(labels))
    shown = min(MOST_SHOWN, len(there))
    classes = [there[place * len(there) // shown] for place in range(shown)]
    return tuple(labels.index(label) for label in classes)


def _told(one: Looked) -> str:
    right = sum(
        1 for row, target in zip(one.rows, one.maps.targets, strict=True) if one.predictions.labels[row] == target
    )
    empty = one.halves.count(None)
    half = (
        f"half of what speaks for an answer lies in {percent(one.half)} of the image, on average; " if one.half else ""
    )
    nothing = f"nothing speaks for {empty} of the answers; " if empty else ""
    note = f" {one.maps.note}" if one.maps.note else ""
    return (
        f"{one.entry.title}: {half}{nothing}maps of {one.maps.layer}, {one.maps.raw.shape[1]} × "
        f"{one.maps.raw.shape[2]}, by {_name(one)}; {right} of these {len(one.rows)} answers are right.{note}"
    )


def _name(one: Looked) -> str:
    return METHODS.get(one.maps.method, one.maps.method).partition(",")[0]


def _images(one: Looked) -> Gallery:
    pixels = [as_pixels(image) for image in one.predictions.take(one.rows)]
    names = [one.entry.run.classes[int(one.predictions.labels[row])] for row in one.rows]
    pictures = [
        Picture(data_uri(image), f"Image of the class {name}", (name,), is_small(image))
        for image, name in zip(pixels, names, strict=True)
    ]
    return Gallery("The images, and what the data says", tuple(pictures), columns=len(pictures))


def _gallery(one: Looked) -> Gallery:
    pictures = [_picture(one, place) for place in range(len(one.rows))]
    return Gallery(one.entry.title, tuple(pictures), columns=len(pictures))


def _picture(one: Looked, place: int) -> Picture:
    classes, weights = one.entry.run.classes, one.maps.maps[place]
    (image,) = one.predictions.take([one.rows[place]])
    answer, label = classes[one.maps.targets[place]], classes[int(one.predictions.labels[one.rows[place]])]
    said = f"{answer} {percent(one.maps.probabilities[place])}"
    half = one.halves[place]
    found = "nothing" if half is None else f"most at the {_where(weights)}, half of it in {percent(half)} of the image"
    return Picture(
        data_uri(np.asarray(overlay(image.cpu().numpy(), weights))),
        f"What speaks for {said} in an image of {label}, by {one.entry.title}: {found}",
        (said,) if answer == label else (said, "wrong"),
    )


def _where(weights: np.ndarray) -> str:
    """Say where a map is strongest: ``top left``."""
    row, column = np.unravel_index(int(weights.argmax()), weights.shape)
    return f"{HEIGHTS[3 * int(row) // len(weights)]} {SIDES[3 * int(column) // weights.shape[1]]}"


def _as_json(one: Looked) -> dict[str, object]:
    classes = one.entry.run.classes
    return {
        "network": one.entry.title,
        "method": one.maps.method,
        "layer": one.maps.layer,
        "images": [one.predictions.name(row) or row for row in one.rows],
        "labels": [classes[int(one.predictions.labels[row])] for row in one.rows],
        "answers": [classes[target] for target in one.maps.targets],
        "probabilities": list(one.maps.probabilities),
        "half_in": one.half,
    }

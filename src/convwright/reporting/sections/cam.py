"""What networks look at: class activation maps of the same images, network by network (EfficientNet's Figure 7)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.display.wording import counted, listed, percent
from convwright.errors import UsageError
from convwright.explain.activation import ActivationMaps, activation_maps
from convwright.explain.drawing import overlay
from convwright.explain.images import truth_text
from convwright.explain.samples import single_labels
from convwright.reporting.entry import Entry, peers
from convwright.reporting.predicted import Predicted
from convwright.reporting.wording import measured_on

MOST_SHOWN = 6
"""Images, each of another class."""
METHODS = {"cam": "CAM, Zhou et al. 2016", "grad-cam": "Grad-CAM, Selvaraju et al. 2017"}
HALF = 0.5
HEIGHTS, SIDES = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class ExampleMaps:
    """Class activation maps of one network for the example images."""

    entry: Entry
    predictions: Predicted
    rows: tuple[int, ...]
    maps: ActivationMaps

    @cached_property
    def half_evidence_areas(self) -> list[float | None]:
        """Smallest share of each image's area that holds half of the positive evidence; None without evidence."""
        return [concentration(weights) for weights in self.maps.positive]

    @property
    def mean_half_evidence_area(self) -> float | None:
        """Mean of `half_evidence_areas` over the images with evidence; None if there are none."""
        areas = [area for area in self.half_evidence_areas if area is not None]
        return fmean(areas) if areas else None


def cam_figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the same images as each network sees them, for each set of images that networks were measured on."""
    together = [[entry for _, entry in group] for group in peers(entries)]
    apart = [[entry] for entry in entries if not any(entry in group for group in together)]
    for number, group in enumerate(together + apart, 1):
        measured = [(entry, entry.predicted) for entry in group if entry.predicted]
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


def _figure(measured: Sequence[tuple[Entry, Predicted]], number: int) -> Iterator[Figure]:
    rows = _one_per_class(measured[0][1])
    examples, left_out = [], []
    for entry, predictions in measured:
        try:
            examples.append(
                ExampleMaps(
                    entry, predictions, rows, activation_maps(predictions.predictor, list(predictions.take(rows)))
                )
            )
        except UsageError as error:  # a network without maps of several pixels
            left_out.append(f"{entry.title} is left out: {error}.")
    if not examples:
        return
    chosen = "finds most likely" if examples[0].entry.run.multi_label else "predicts"
    methods = listed(dict.fromkeys(METHODS.get(one.maps.method, one.maps.method) for one in examples))
    yield Figure(
        "cam" if number == 1 else f"cam-{number}",
        "What the networks look at" if len(examples) > 1 else f"What {examples[0].entry.title} looks at",
        f"Class activation maps ({methods}) for the class that each network {chosen}, over the image; bright regions "
        f"are strong evidence for that class. The images are the first of {counted(len(rows), 'class', 'classes')} "
        f"among the {measured_on(examples[0].entry)}, not selected by their results.",
        galleries=(_images(examples[0]), *map(_gallery, examples)),
        findings=(*map(_finding, examples), *left_out),
        facts=[_as_json(one) for one in examples],
    )


def _one_per_class(predictions: Predicted) -> tuple[int, ...]:
    """Return the position of the first image of each of some classes, evenly spaced among those that have images.

    An image with several labels is one of the rarest of its classes.
    """
    labels = single_labels(predictions.labels).tolist()
    present = sorted(set(labels))
    shown = min(MOST_SHOWN, len(present))
    classes = [present[place * len(present) // shown] for place in range(shown)]
    return tuple(labels.index(label) for label in classes)


def _finding(one: ExampleMaps) -> str:
    classes = one.predictions.predictor.classes
    right = sum(
        1
        for row, target in zip(one.rows, one.maps.targets, strict=True)
        if classes[target] in one.predictions.classes_of(row)
    )
    empty = one.half_evidence_areas.count(None)
    area = one.mean_half_evidence_area
    half = f"half of the evidence lies in {percent(area)} of the image area, on average; " if area else ""
    have = counted(empty, "prediction has", "predictions have")
    nothing = f"{have} no positive evidence; " if empty else ""
    note = f" {one.maps.note}" if one.maps.note else ""
    verb = "is" if right == 1 else "are"
    return (
        f"{one.entry.title}: {half}{nothing}maps of {one.maps.layer}, {one.maps.raw.shape[1]} × "
        f"{one.maps.raw.shape[2]}, by {_name(one)}; {right} of "
        f"{counted(len(one.rows), 'prediction')} {verb} correct.{note}"
    )


def _name(one: ExampleMaps) -> str:
    return METHODS.get(one.maps.method, one.maps.method).partition(",")[0]


def _images(one: ExampleMaps) -> Gallery:
    pixels = [as_pixels(image) for image in one.predictions.take(one.rows)]
    names = [truth_text(one.predictions.classes_of(row)) for row in one.rows]
    pictures = [
        Picture(data_uri(image), f"Image of the class {name}", (name,), is_small(image))
        for image, name in zip(pixels, names, strict=True)
    ]
    return Gallery("The images and their labels", tuple(pictures), columns=len(pictures))


def _gallery(one: ExampleMaps) -> Gallery:
    pictures = [_picture(one, place) for place in range(len(one.rows))]
    return Gallery(one.entry.title, tuple(pictures), columns=len(pictures))


def _picture(one: ExampleMaps, place: int) -> Picture:
    classes, weights = one.entry.run.classes, one.maps.maps[place]
    (image,) = one.predictions.take([one.rows[place]])
    answer, labels = classes[one.maps.targets[place]], one.predictions.classes_of(one.rows[place])
    prediction = f"{answer} {percent(one.maps.probabilities[place])}"
    area = one.half_evidence_areas[place]
    found = "none" if area is None else f"most at the {_where(weights)}, half of it in {percent(area)} of the image"
    return Picture(
        data_uri(np.asarray(overlay(image.cpu().numpy(), weights))),
        f"Evidence for {prediction} in an image of {truth_text(labels)}, by {one.entry.title}: {found}",
        (prediction,) if answer in labels else (prediction, "wrong"),
    )


def _where(weights: np.ndarray) -> str:
    """Say where a map is strongest: ``top left``."""
    row, column = np.unravel_index(int(weights.argmax()), weights.shape)
    return f"{HEIGHTS[3 * int(row) // len(weights)]} {SIDES[3 * int(column) // weights.shape[1]]}"


def _as_json(one: ExampleMaps) -> dict[str, object]:
    classes = one.entry.run.classes
    return {
        "network": one.entry.title,
        "method": one.maps.method,
        "layer": one.maps.layer,
        "images": [one.predictions.name(row) or row for row in one.rows],
        "labels": [truth_text(one.predictions.classes_of(row)) for row in one.rows],
        "answers": [classes[target] for target in one.maps.targets],
        "probabilities": list(one.maps.probabilities),
        "half_in": one.mean_half_evidence_area,
    }

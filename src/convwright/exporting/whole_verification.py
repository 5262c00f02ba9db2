"""Verification of files from image to outputs: resizing beside Pillow's, and activation maps beside those of torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from convwright.engines.card_reading import read_card
from convwright.engines.own import OWN_ENGINES
from convwright.engines.parts import LOGITS, MAP
from convwright.engines.registry import open_file
from convwright.engines.whole import open_whole
from convwright.errors import ConvwrightError
from convwright.exporting.agreement import CheckImages, logits_of
from convwright.exporting.explanation import Explained, reference_maps
from convwright.exporting.verification import VerifiedEngines, WholeCheck, image_seconds
from convwright.prediction.network import Predictor

IMAGES = 12
"""Images of several sizes on which a file is verified."""
TOLERANCE = {"f32": 1e-3, "int8": 0.1}
"""Largest difference of a probability, by precision: in 8 bits, a difference of one grey value can move a value to its
next step."""
MAP_TOLERANCE = {"tensor": 1e-3, "image": 5e-3}
"""Largest difference of an activation map in float, as a share of the map's largest value, by input: in OpenVINO, a few
pixels of a resized image may differ by one grey value."""
SMALLEST, LARGEST = 0.4, 7.0
"""Sides of the images, as factors of the network's."""


def images_of_sizes(check: CheckImages, count: int = IMAGES) -> list[np.ndarray]:
    """Return images of several sizes, made of those to verify on: H x W x 3, uint8.

    Args:
        check: Images at the network's resolution.
        count: Number of images.
    """
    generator = np.random.default_rng(0)
    height, width = check.images.shape[2:]
    found = []
    for index in range(count):
        pixels = check.images[index % len(check.images)].transpose(1, 2, 0)
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
        scale = SMALLEST * (LARGEST / SMALLEST) ** (index / max(1, count - 1))
        ratio = float(generator.uniform(0.6, 1.7))
        size = max(1, round(width * scale * ratio**0.5)), max(1, round(height * scale / ratio**0.5))
        found.append(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)))
    return found


def verify_whole(
    path: Path, out: Path, predictor: Predictor, found: Explained | None, check: CheckImages, verified: VerifiedEngines
) -> VerifiedEngines:
    """Compare what a whole file computes with its network on the pixels that Pillow resizes.

    Args:
        path: The file.
        out: Name that the file will have, for error messages.
        predictor: The network, which reads images as in training.
        found: What its activation maps are computed from; None where the file has none.
        check: Images to verify on, from which images of several sizes are made.
        verified: Engines that agree with the network.

    Returns:
        The engines with their agreement; one that resizes images in another way or computes another map becomes a
        problem. Those of other packages are kept, as they run the network alone.

    Raises:
        ConvwrightError: No engine resizes images as Pillow does and computes the map.
    """
    card = read_card(path)
    if card.input == "image":
        images = images_of_sizes(check)
        pixels = np.stack([predictor.read(image).numpy() for image in images])
        inputs = [image[None] for image in images]
    else:
        pixels = check.images[:IMAGES]
        inputs = [one[None] for one in pixels]
    maps = None if found is None else reference_maps(predictor, found, pixels)
    allowed, runs = TOLERANCE[card.precision], dict(verified.runs)
    faults: dict[str, str] = {}
    checked = [name for name in runs if name in OWN_ENGINES]
    for name in checked:
        whole, network = open_whole(path, name), open_file(path, name).run
        outputs = [whole(one) for one in inputs]
        expected = logits_of(network, pixels, 1)
        agreement = _compared(outputs, expected, maps, multi_label=predictor.multi_label, tie=2 * allowed)
        if fault := _fault(agreement, allowed, MAP_TOLERANCE[card.input] if card.precision == "f32" else None):
            faults[name] = fault
            continue
        middle = sorted(inputs, key=lambda one: one.size)[len(inputs) // 2]
        milliseconds = 1000 * image_seconds(lambda whole=whole, one=middle: whole(one))  # type: ignore[misc]
        runs[name] = replace(runs[name], whole=replace(agreement, milliseconds=milliseconds))
    if checked and len(faults) == len(checked):
        name, fault = next(iter(faults.items()))
        raise ConvwrightError(f"{out} was not written: in {name}, {fault}")
    return replace(
        verified,
        runs={name: each for name, each in runs.items() if name not in faults},
        agreements={name: each for name, each in verified.agreements.items() if name not in faults},
        problems=verified.problems | faults,
    )


def _fault(found: WholeCheck, allowed: float, map_allowed: float | None) -> str:
    """Return in what a whole file does not agree; empty if it agrees.

    Args:
        found: The comparison.
        allowed: Largest difference of a probability.
        map_allowed: Largest difference of an activation map; None: it is only reported, as in 8 bits.
    """
    if not (found.difference <= allowed and found.same == 1):
        return (
            f"its own resizing changes probabilities by up to {found.difference:.2g}, and {1 - found.same:.0%} of the "
            "predictions; use `input` tensor"
        )
    if map_allowed is not None and found.map_difference is not None and not found.map_difference <= map_allowed:
        return f"its activation maps differ by up to {found.map_difference:.2g} of their largest value"
    return ""


def _compared(
    outputs: Sequence[Mapping[str, np.ndarray]],
    expected: np.ndarray,
    maps: np.ndarray | None,
    *,
    multi_label: bool,
    tie: float,
) -> WholeCheck:
    """Compare outputs of a file; two classes whose probabilities differ by no more than `tie` are equally likely."""
    logits = np.concatenate([each[LOGITS] for each in outputs])
    before, after = (_probabilities(values, multi_label=multi_label) for values in (expected, logits))
    same = before.argmax(1) == after.argmax(1)
    ties = before.max(1) - before[np.arange(len(before)), after.argmax(1)] <= tie
    distance = None
    if maps is not None:
        given = np.concatenate([each[MAP] for each in outputs])[same]  # another class has another map
        sizes = np.abs(maps[same]).max((1, 2), initial=1e-12)
        distance = float((np.abs(given - maps[same]).max((1, 2), initial=0) / sizes).max(initial=0))
    return WholeCheck(len(logits), float(np.abs(before - after).max()), float((same | ties).mean()), 0.0, distance)


def _probabilities(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    logits = logits.astype(np.float64)
    if multi_label:
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))

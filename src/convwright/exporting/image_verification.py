"""Verification of files whose input is an image of any size: their own resizing beside Pillow's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from convwright.engines.card_reading import read_card
from convwright.engines.own import OWN_ENGINES
from convwright.engines.registry import open_file
from convwright.engines.runner import Runner
from convwright.engines.whole import ImageRunner, open_whole
from convwright.errors import ConvwrightError
from convwright.exporting.agreement import CheckImages, logits_of
from convwright.exporting.verification import ImageCheck, VerifiedEngines, image_seconds
from convwright.prediction.network import Predictor

IMAGES = 12
"""Images of several sizes on which a file is verified."""
TOLERANCE = {"f32": 1e-3, "int8": 2e-2}
"""Largest difference of a probability, by precision: in 8 bits, one grey value may lead to the next step."""
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


def verify_images(
    path: Path, out: Path, predictor: Predictor, check: CheckImages, verified: VerifiedEngines
) -> VerifiedEngines:
    """Compare what a file computes from whole images with its network on the pixels that Pillow resizes.

    Args:
        path: The file.
        out: Name that the file will have, for error messages.
        predictor: The network, which reads images as in training.
        check: Images to verify on, from which images of several sizes are made.
        verified: Engines that agree with the network.

    Returns:
        The engines with their agreement; those of other packages are kept, as they run the network alone.

    Raises:
        ConvwrightError: An engine resizes images in another way.
    """
    images = images_of_sizes(check)
    pixels = np.stack([predictor.read(image).numpy() for image in images])
    allowed, runs = TOLERANCE[read_card(path).precision], dict(verified.runs)
    for name in runs.keys() & OWN_ENGINES.keys():
        found = _compared(open_whole(path, name), open_file(path, name).run, images, pixels, predictor, 2 * allowed)
        if not (found.difference <= allowed and found.same == 1):
            raise ConvwrightError(
                f"{out} was not written: in {name}, its own resizing changes probabilities by up to "
                f"{found.difference:.2g}, and {1 - found.same:.0%} of the predictions; use `input` tensor"
            )
        runs[name] = replace(runs[name], images=found)
    return replace(verified, runs=runs)


def _compared(
    whole: ImageRunner,
    network: Runner,
    images: list[np.ndarray],
    pixels: np.ndarray,
    predictor: Predictor,
    tie: float,
) -> ImageCheck:
    """Compare probabilities; two classes whose probabilities differ by no more than `tie` are equally likely."""
    expected = logits_of(network, pixels, 1)
    found = np.concatenate([whole(image)["logits"] for image in images])
    before, after = (_probabilities(logits, multi_label=predictor.multi_label) for logits in (expected, found))
    same = before.argmax(1) == after.argmax(1)
    ties = before.max(1) - before[np.arange(len(before)), after.argmax(1)] <= tie
    median = sorted(images, key=lambda image: image.size)[len(images) // 2]
    return ImageCheck(
        len(images),
        float(np.abs(before - after).max()),
        float((same | ties).mean()),
        1000 * image_seconds(lambda: whole(median)),
    )


def _probabilities(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    logits = logits.astype(np.float64)
    if multi_label:
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))

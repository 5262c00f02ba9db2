"""The images on which an exported network is verified, and those on which quantization is calibrated."""

import numpy as np
import torch

from convwright.data import Dataset, Split
from convwright.data.images import fitted
from convwright.display.wording import counted
from convwright.errors import DataError
from convwright.evaluation.assessment import class_order, in_channels, labels_in
from convwright.exporting.agreement import CheckImages
from convwright.exporting.quantization import CALIBRATION_IMAGES, MAX_DROP, SCORING_IMAGES, Calibration
from convwright.extras import require_package
from convwright.places import without_folders
from convwright.prediction.network import Predictor
from convwright.seeds import derive

MOST = 1000
"""Default limit of images to verify on."""


def of_split(
    predictor: Predictor, data: Dataset, split: Split, name: str, most: int = MOST, seed: int = 0
) -> CheckImages:
    """Return images of a split, sampled at random, in the channels and size of a network.

    Args:
        predictor: The network.
        data: Data of the split; the labels are left out if its classes are not the network's.
        split: The split.
        name: Name of the split in words, such as `validation`.
        most: Most images.
        seed: Seed of the sample.
    """
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive(seed, name)))[:most]
    count = f"{len(rows)} of {counted(len(split), f'{name} image')}"
    return _taken(predictor, data, split, rows, f"{count} of {without_folders(data.name)}")


def calibration(
    predictor: Predictor, data: Dataset, max_drop: float = MAX_DROP, search_seconds: float | None = None
) -> Calibration:
    """Sample images to calibrate and to score on from the training split, disjoint where the split is large enough.

    Args:
        predictor: The network to quantize.
        data: The data.
        max_drop: Accuracy that quantization may cost, as a share.
        search_seconds: Seconds after which no further layers are left in float; None: no limit.
    """
    count = len(data.train)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derive(0, "calibration")))
    fitting = order[: min(CALIBRATION_IMAGES, max(1, count // 2))]
    scoring = order[len(fitting) :][:SCORING_IMAGES] if count > 1 else order
    images = _taken(predictor, data, data.train, fitting, "calibration").images
    return Calibration(images, _taken(predictor, data, data.train, scoring, "training"), max_drop, search_seconds)


def photographs(predictor: Predictor, count: int = 32) -> CheckImages:
    """Return random crops of the two photographs in scikit-learn, for networks that come without data.

    Args:
        predictor: The network.
        count: Number of crops.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    from PIL import Image

    generator = np.random.default_rng(0)
    crops = []
    photos = require_package("sklearn.datasets", "verifying without data").load_sample_images().images
    for index in range(count):
        photo = photos[index % len(photos)]
        side = int(generator.integers(min(photo.shape[:2]) // 3, min(photo.shape[:2]) + 1))
        top, left = (int(generator.integers(0, size - side + 1)) for size in photo.shape[:2])
        crop = Image.fromarray(photo[top : top + side, left : left + side])
        crops.append(fitted(crop, predictor.resolution, predictor.channels, predictor.framing))
    description = f"{count} crops of scikit-learn's two photographs"
    return CheckImages(np.stack(crops), None, description, predictor.thresholds)


def random_weights_calibration(predictor: Predictor) -> Calibration:
    """Return a calibration that quantizes every layer, for networks with random weights, of which only time matters.

    Args:
        predictor: The network.
    """
    crops = photographs(predictor, 8)
    return Calibration(crops.images, crops, max_drop=1.0)


def _taken(predictor: Predictor, data: Dataset, split: Split, rows: torch.Tensor, description: str) -> CheckImages:
    chosen = split.choose(rows)
    images = in_channels(chosen, predictor.channels).images
    pixels = np.ascontiguousarray(images.numpy())
    return CheckImages(pixels, _labels(predictor, data, chosen), description, predictor.thresholds)


def _labels(predictor: Predictor, data: Dataset, split: Split) -> np.ndarray | None:
    try:
        order = class_order(data.classes, predictor.classes, data.name)
    except DataError:
        return None
    if split.multi_label is not predictor.multi_label:
        return None
    labels = labels_in(order, split.labels, len(predictor.classes)).numpy()
    return labels if not split.multi_label or labels.any() else None

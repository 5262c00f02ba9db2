"""The images on which an exported network is held to the original, and those that quantization is calibrated on."""

import numpy as np
import torch

from convwright.data import Dataset, Split
from convwright.data.images import fitted
from convwright.errors import DataError
from convwright.evaluation.assessment import class_order, in_channels
from convwright.exporting.agreement import Check
from convwright.exporting.quantization import CALIBRATED_ON, MAX_DROP, SCORED_ON, Calibration
from convwright.prediction.network import Predictor
from convwright.seeds import derive

MOST = 1000
"""Images verified on, unless it is said otherwise."""


def of_split(predictor: Predictor, data: Dataset, split: Split, told: str, most: int, seed: int = 0) -> Check:
    """Return some images of a split, drawn by a seed, as the network knows images.

    Their labels are left out where the data has other classes than the network.
    """
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive(seed, told)))[:most]
    return _taken(predictor, data, split, rows, f"{len(rows)} of {len(split)} {told} images of {data.name}")


def calibration(predictor: Predictor, data: Dataset, max_drop: float = MAX_DROP) -> Calibration:
    """Draw images to calibrate and to score on from the training split; none is in both where it is large enough."""
    count = len(data.train)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derive(0, "calibration")))
    fitting = order[: min(CALIBRATED_ON, max(1, count // 2))]
    scoring = order[len(fitting) :][:SCORED_ON] if count > 1 else order
    images = _taken(predictor, data, data.train, fitting, "calibration").images
    return Calibration(images, _taken(predictor, data, data.train, scoring, "training"), max_drop)


def photographs(predictor: Predictor, count: int = 32) -> Check:
    """Return crops of the two photographs that ship with scikit-learn, for networks that come without data."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(0)
    crops = []
    photos = load_sample_images().images
    for index in range(count):
        photo = photos[index % len(photos)]
        side = int(generator.integers(min(photo.shape[:2]) // 3, min(photo.shape[:2]) + 1))
        top, left = (int(generator.integers(0, size - side + 1)) for size in photo.shape[:2])
        crop = Image.fromarray(photo[top : top + side, left : left + side])
        crops.append(fitted(crop, predictor.resolution, predictor.channels))
    return Check(np.stack(crops), None, f"{count} crops of scikit-learn's two photographs")


def _taken(predictor: Predictor, data: Dataset, split: Split, rows: torch.Tensor, told: str) -> Check:
    chosen = Split(split.take(rows), split.labels[rows])
    images = in_channels(chosen, predictor.channels).images
    return Check(np.ascontiguousarray(images.numpy()), _labels(predictor, data, chosen), told)


def _labels(predictor: Predictor, data: Dataset, split: Split) -> np.ndarray | None:
    try:
        order = class_order(data.classes, predictor.classes, data.name)
    except DataError:
        return None
    return order[split.labels].numpy()

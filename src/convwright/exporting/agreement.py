"""How well an exported network agrees with the one that it was made from, image by image."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from convwright.engines.runner import Runner
from convwright.finite import check_finite
from convwright.stats.intervals import paired_difference

TOLERANCE = 1e-3
"""Largest difference of an image's logits that counts as rounding, as a share of the largest of them."""
FLOOR = 0.1
"""An image whose logits are all small is held to this share of what is usual instead."""
TIE = 1e-5
"""Two logits closer than this, as such a share, are a tie: rounding may decide which class is named."""
CHANGED = 0.01
"""Share of images for which another class may be named that was no tie."""
BATCH = 32


@dataclass(frozen=True, eq=False)
class Check:
    """Images to compare on: uint8, N x C x H x W, their labels where known, and what they are in words."""

    images: np.ndarray
    labels: np.ndarray | None
    told: str


@dataclass(frozen=True)
class Agreement:
    """What came of a comparison; accuracies (0 to 1) are None without labels."""

    images: int
    difference: float
    """Largest difference of a logit, as a share of its image's largest logit."""
    same: float
    """Share of images for which both name the same class first."""
    accuracy: float | None
    """Of the exported network."""
    reference: float | None
    """Of the original."""
    lost: tuple[float, float, float] | None
    """Accuracy lost, and the 95 % interval of that."""
    changed: float = 0.0
    """Share of images for which another class is named first that was no tie."""

    @property
    def sound(self) -> bool:
        """Is the difference no more than rounding?"""
        return self.difference <= TOLERANCE and self.changed <= CHANGED

    def facts(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}


def logits_of(run: Runner, images: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """Run an engine over images.

    Args:
        run: The engine.
        images: `N x C x H x W`, uint8.
        batch: Images at a time.

    Returns:
        Logits, `N x classes`, float32.

    Raises:
        NotFiniteError: A logit is NaN or infinite.
    """
    parts = [np.array(run(np.ascontiguousarray(images[i : i + batch]))) for i in range(0, len(images), batch)]
    return check_finite(np.concatenate(parts).astype(np.float32))


def compare(expected: np.ndarray, given: np.ndarray, labels: np.ndarray | None) -> Agreement:
    """Compare logits, N x classes, of the original and of the exported network."""
    if given.shape != expected.shape or not np.isfinite(given).all():
        return Agreement(len(expected), math.inf, 0.0, None, None, None, changed=1.0)
    largest = np.abs(expected).max(1)
    scale = np.maximum(largest, max(1e-12, FLOOR * float(np.median(largest))))
    difference = float((np.abs(given - expected).max(1) / scale).max())
    before, after = expected.argmax(1), given.argmax(1)
    same = float((before == after).mean())
    rows = np.arange(len(expected))
    changed = float((expected[rows, before] - expected[rows, after] > TIE * scale).mean())
    if labels is None:
        return Agreement(len(expected), difference, same, None, None, None, changed)
    right, still = before == labels, after == labels
    lost = paired_difference(int((right & ~still).sum()), int((~right & still).sum()), len(labels))
    return Agreement(len(expected), difference, same, float(still.mean()), float(right.mean()), lost, changed)

"""How well an exported network agrees with the network that it was made from, image by image."""

import math
from dataclasses import dataclass

import numpy as np

from convwright.engines.runner import Runner
from convwright.finite import check_finite
from convwright.stats.paired import PairedCounts

TOLERANCE = 1e-3
"""Largest difference of an image's logits that counts as rounding, as a share of its largest logit."""
FLOOR = 0.1
"""Where an image's logits are all small, the share is taken of this part of the median over images instead."""
TIE = 1e-5
"""Two logits that differ by less, as such a share, are a tie: rounding may decide which class is predicted."""
CHANGED = 0.01
"""Largest share of images whose predicted class may change without a tie."""
BATCH = 32


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Images on which two networks are compared."""

    images: np.ndarray
    """`N x C x H x W`, uint8."""
    labels: np.ndarray | None
    """True classes, N; None where they are not known."""
    description: str
    """The images in words, such as `1000 of 5000 validation images of photos`."""


@dataclass(frozen=True)
class Agreement:
    """Result of a comparison; accuracies (0 to 1) are None without labels."""

    images: int
    difference: float
    """Largest difference of a logit, as a share of its image's largest logit."""
    same: float
    """Share of images for which both predict the same class."""
    accuracy: float | None
    """Accuracy of the exported network."""
    reference: float | None
    """Accuracy of the original network."""
    lost: tuple[float, float, float] | None
    """Accuracy lost, and its 95 % interval."""
    changed: float = 0.0
    """Share of images whose predicted class changed without a tie."""

    @property
    def within_rounding(self) -> bool:
        """Whether the difference is no larger than rounding explains."""
        return self.difference <= TOLERANCE and self.changed <= CHANGED

    @property
    def changes(self) -> tuple[float, float, float]:
        """Share of images for which the two predict different classes, and its 95 % interval."""
        different = round(self.images * (1 - self.same))
        pairs = PairedCounts(different, 0, self.images)
        return (pairs.difference, *pairs.interval)

    def to_dict(self) -> dict[str, object]:
        """Return the figures for JSON, without those that are not known."""
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


def compare(expected: np.ndarray, found: np.ndarray, labels: np.ndarray | None) -> Agreement:
    """Compare the logits of an exported network with those of the original.

    Args:
        expected: Logits of the original, `N x classes`.
        found: Logits of the exported network.
        labels: True classes, N; None where they are not known.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        return Agreement(len(expected), math.inf, 0.0, None, None, None, changed=1.0)
    largest = np.abs(expected).max(1)
    scale = np.maximum(largest, max(1e-12, FLOOR * float(np.median(largest))))
    difference = float((np.abs(found - expected).max(1) / scale).max())
    before, after = expected.argmax(1), found.argmax(1)
    same = float((before == after).mean())
    rows = np.arange(len(expected))
    changed = float((expected[rows, before] - expected[rows, after] > TIE * scale).mean())
    if labels is None:
        return Agreement(len(expected), difference, same, None, None, None, changed)
    right, still = before == labels, after == labels
    pairs = PairedCounts(int((right & ~still).sum()), int((~right & still).sum()), len(labels))
    lost = (pairs.difference, *pairs.interval)
    return Agreement(len(expected), difference, same, float(still.mean()), float(right.mean()), lost, changed)

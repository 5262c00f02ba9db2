"""How well an exported network agrees with the network that it was made from, image by image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convwright.engines.runner import Runner
from convwright.finite import check_finite
from convwright.stats.average_precision import RankedScores, mean_over_classes, precision_difference
from convwright.stats.intervals import wilson
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
MULTI_LABEL_NAMES = {"accuracy": "map", "reference": "reference_map", "lost": "lost_map"}
"""Names in JSON of the figures of multi-label networks that differ from those of others."""


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Images on which two networks are compared."""

    images: np.ndarray
    """`N x C x H x W`, uint8."""
    labels: np.ndarray | None
    """True classes, N int64, or of a multi-label network N x classes bool; None where they are not known."""
    description: str
    """The images in words, such as `1000 of 5000 validation images of photos`."""
    thresholds: tuple[float, ...] | None = None
    """Probability from which on each class of a multi-label network is predicted; None for one class an image."""


@dataclass(frozen=True)
class Agreement:
    """Result of a comparison; accuracies (0 to 1) are None without labels.

    Of multi-label networks, accuracies are mean average precisions, and predictions are sets of classes.
    """

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
    multi_label: bool = False
    """Whether the networks predict any number of classes for an image."""

    @property
    def measure(self) -> str:
        """What `accuracy` is: accuracy, or mean average precision."""
        return "mean average precision" if self.multi_label else "accuracy"

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the accuracy; None without labels, and for mean average precision."""
        if self.accuracy is None or self.multi_label:
            return None
        return wilson(round(self.accuracy * self.images), self.images)

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
        known = {name: value for name, value in vars(self).items() if value is not None and name != "multi_label"}
        return {MULTI_LABEL_NAMES.get(name, name): known[name] for name in known} if self.multi_label else known


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


def compare(
    expected: np.ndarray,
    found: np.ndarray,
    labels: np.ndarray | None,
    thresholds: Sequence[float] | None = None,
) -> Agreement:
    """Compare the logits of an exported network with those of the original.

    Args:
        expected: Logits of the original, `N x classes`.
        found: Logits of the exported network.
        labels: True classes, as in `CheckImages`; None where they are not known.
        thresholds: Probability from which on each class of a multi-label network is predicted.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        multi_label = thresholds is not None
        return Agreement(len(expected), math.inf, 0.0, None, None, None, changed=1.0, multi_label=multi_label)
    largest = np.abs(expected).max(1)
    scale = np.maximum(largest, max(1e-12, FLOOR * float(np.median(largest))))
    difference = float((np.abs(found - expected).max(1) / scale).max())
    if thresholds is not None:
        return _compare_label_sets(expected, found, labels, thresholds, scale, difference)
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


def label_sets(logits: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return which classes a multi-label network predicts, N x classes, bool.

    Args:
        logits: `N x classes`.
        thresholds: Probability from which on each class is predicted.
    """
    probabilities = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return np.asarray(probabilities >= np.array(thresholds))


def _compare_label_sets(
    expected: np.ndarray,
    found: np.ndarray,
    labels: np.ndarray | None,
    thresholds: Sequence[float],
    scale: np.ndarray,
    difference: float,
) -> Agreement:
    """Compare multi-label networks; a class whose logit is as good as at its threshold is a tie."""
    different = label_sets(expected, thresholds) != label_sets(found, thresholds)
    limits = np.array(thresholds)
    with np.errstate(divide="ignore"):
        margins = np.abs(expected - (np.log(limits) - np.log1p(-limits)))
    changed = float((different & (margins > TIE * scale[:, None])).any(1).mean())
    same = float((~different.any(1)).mean())
    if labels is None:
        return Agreement(len(expected), difference, same, None, None, None, changed, multi_label=True)
    mine, original = (
        float(mean_over_classes(RankedScores(scores, labels).average_precisions())) for scores in (found, expected)
    )
    drop = precision_difference(expected, found, labels)
    low, high = drop.interval or (drop.difference, drop.difference)
    lost = drop.difference, low, high
    return Agreement(len(expected), difference, same, mine, original, lost, changed, multi_label=True)

"""Average precision of scores for classes of which an image may have several, bootstrap intervals, and thresholds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from convwright.seeds import derive
from convwright.stats.intervals import wilson

LEVEL = 0.95
SAMPLES = 1000
"""Bootstrap samples of an interval, fewer where images and classes are many."""
FEWEST_SAMPLES = 200
MOST_TERMS = 2e8
"""Images times classes times samples of an interval."""
CHUNK = 2**22
"""Weights of images that are handled at a time."""
FEW_ERRORS = 5
"""With fewer wrong labels than this, samples hardly differ, and Wilson's interval of a share of labels is wider."""
USUAL_THRESHOLD = 0.5
"""Threshold of a class without labelled images."""


@dataclass(frozen=True)
class MeanPrecision:
    """Mean average precision, with its interval."""

    value: float
    """Mean over the classes that have images, 0 to 1."""
    interval: tuple[float, float] | None
    """Bootstrap over images at 95 %, reflected on the scale of log-odds; None for a single image."""


@dataclass(frozen=True)
class PrecisionDifference:
    """Difference of two mean average precisions on the same images."""

    difference: float
    """The first minus the second, -1 to 1."""
    interval: tuple[float, float] | None
    """Paired bootstrap over images at 95 %, reflected; None for a single image."""
    p_value: float
    """Two-sided, from the share of bootstrap samples on either side of 0; at least 2 / (samples + 1)."""


class RankedScores:
    """Scores of N images for K classes, sorted once so that any weighting of the images is cheap.

    Args:
        scores: `N x K`, finite: the higher, the more likely the class.
        labels: `N x K`, bool: the classes that each image has.
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.classes = scores.shape
        self._ranked: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for place in range(self.classes):
            order = np.argsort(-scores[:, place], kind="stable")
            ranked = scores[order, place]
            ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), self.images - 1)  # the last of equal scores
            self._ranked.append((order, ends, labels[order, place]))

    def average_precisions(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the average precision of each class.

        It is the sum of precision times the increase of recall from one score to the next lower one, without
        interpolation; equal scores count together.

        Args:
            weights: `B x N`, not negative: weightings of the images; None: 1 each.

        Returns:
            `B x K`, or K without weights; NaN for a class without images.
        """
        given = np.ones((1, self.images)) if weights is None else weights
        found = np.full((len(given), self.classes), np.nan)
        for place, (order, ends, labels) in enumerate(self._ranked):
            if not labels.any():
                continue
            ranked = given[:, order]
            total = ranked.cumsum(1)[:, ends]
            correct = (ranked * labels).cumsum(1)[:, ends]
            with np.errstate(invalid="ignore", divide="ignore"):
                precision = np.where(total > 0, correct / total, 0.0)
                steps = np.diff(correct, axis=1, prepend=0.0)
                found[:, place] = (precision * steps).sum(1) / correct[:, -1]
        return found[0] if weights is None else found

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean average precision of each weighting, B; NaN where no class has images."""
        return mean_over_classes(self.average_precisions(weights))


def mean_over_classes(precisions: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis, over the classes that have images; NaN where none has."""
    known = ~np.isnan(precisions)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, precisions, 0.0).sum(-1) / known.sum(-1))


def mean_precision(scores: np.ndarray, labels: np.ndarray, seed: int = 0) -> MeanPrecision:
    """Return the mean average precision of scores with its bootstrap interval.

    Average precision of few images is too high, and that of a bootstrap sample, which repeats images, once more by as
    much. So the interval is reflected at the value: its ends are as far below it as bootstrap samples are above, on the
    scale of log-odds (Davison and Hinkley 1997, section 5.2.1, with a transformation).

    Args:
        scores: `N x K`, finite.
        labels: `N x K`, bool.
        seed: Seed of the bootstrap samples.
    """
    ranked = RankedScores(scores, labels)
    value = float(mean_over_classes(ranked.average_precisions()))
    if len(scores) < 2:
        return MeanPrecision(value, None)
    drawn = np.concatenate([ranked.means(weights) for weights in _samples(len(scores), scores.shape[1], seed)])
    low, high = _reflected_odds(drawn, value, len(scores))
    present = int(labels.sum())
    if (1 - value) * present < FEW_ERRORS:
        low = min(low, wilson(present - math.ceil((1 - value) * present), present)[0])
    return MeanPrecision(value, (low, high))


def precision_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, seed: int = 0
) -> PrecisionDifference:
    """Compare the mean average precisions of two networks on the same images, with the same bootstrap samples.

    Args:
        first: Scores of one network, `N x K`, finite.
        second: Scores of the other.
        labels: `N x K`, bool.
        seed: Seed of the bootstrap samples.
    """
    one, other = RankedScores(first, labels), RankedScores(second, labels)
    before, after = (mean_over_classes(ranked.average_precisions()) for ranked in (other, one))
    difference = float(after - before)
    if len(first) < 2:
        return PrecisionDifference(difference, None, 1.0)
    drawn = np.concatenate(
        [
            one.means(weights) - other.means(weights)
            for weights in _samples(len(first), first.shape[1], seed, networks=2)
        ]
    )
    reflected = 2 * difference - drawn[~np.isnan(drawn)]
    tail = 1 + min(int((reflected <= 0).sum()), int((reflected >= 0).sum()))
    low, high = _quantiles(reflected, difference)
    bounds = max(-1.0, min(low, difference)), min(1.0, max(high, difference))
    return PrecisionDifference(difference, bounds, min(1.0, 2 * tail / (len(reflected) + 1)))


def best_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """Return for each class the threshold of highest F1: the class is predicted where its probability is at least that.

    A threshold lies halfway between the probabilities of two images, so that rounding does not change predictions for
    these images. Of several with the same F1 the one closest to 0.5 is returned; 0.5 for a class without images.

    Args:
        probabilities: `N x K`, 0 to 1.
        labels: `N x K`, bool.
    """
    return tuple(
        _best_threshold(probabilities[:, place].astype(np.float64), labels[:, place])
        for place in range(probabilities.shape[1])
    )


def _best_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    if not labels.any():
        return USUAL_THRESHOLD
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    correct = labels[order].cumsum()[ends]
    f1 = 2 * correct / (ends + 1 + labels.sum())
    below = np.append(ranked[ends[:-1] + 1], 0.0)
    middles = (ranked[ends] + below) / 2
    best = middles[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - USUAL_THRESHOLD).argmin()])


def _samples(images: int, classes: int, seed: int, networks: int = 1) -> Iterator[np.ndarray]:
    """Yield bootstrap samples of images as weights, `B x N`: how often each image was drawn."""
    left = int(min(SAMPLES, max(FEWEST_SAMPLES, MOST_TERMS / (images * classes * networks))))
    at_once = max(1, CHUNK // images)
    generator = np.random.default_rng(derive(seed, "bootstrap"))
    while left > 0:
        count = min(at_once, left)
        drawn = generator.integers(0, images, (count, images))
        drawn += np.arange(count)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)
        left -= count


def _reflected_odds(drawn: np.ndarray, value: float, images: int) -> tuple[float, float]:
    """Return the interval of bootstrap samples of a share, reflected at its log-odds; it holds the share itself."""
    least = 0.5 / images  # a share of all or none of the images would have infinite log-odds
    low, high = (min(max(end, least), 1 - least) for end in _quantiles(drawn, value))
    middle = min(max(value, least), 1 - least)
    first, last = (_share(2 * _log_odds(middle) - _log_odds(end)) for end in (high, low))
    return min(first, value), max(last, value)


def _quantiles(drawn: np.ndarray, value: float) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(drawn, (tail, 1 - tail)) if not np.isnan(drawn).all() else (value, value)
    return float(low), float(high)


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))

"""What a network does not know: calibrated probabilities, sets of classes with a known coverage, and unknown images.

- Temperature scaling (Guo et al. 2017): logits are divided by one number, fitted on held-out images.
- Conformal prediction sets (Sadinle et al. 2019, "least ambiguous sets"): all classes whose probability reaches a
  threshold that is set on held-out images, so that the set contains the true class with the requested probability.
- The energy of the logits (Liu et al. 2020), which is higher for images unlike those that were trained on; where
  features are available, the out-of-distribution score of `convwright.stats.ood`.

The formulas are written with numpy and not taken from MAPIE, which needs scikit-learn: exported files are used where
neither it nor torch is installed.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

BINS = 15
"""Bins by confidence of the calibration error."""
COVERAGES = tuple(range(50, 100))
"""Coverages in percent for which thresholds are kept."""
KNOWN = 0.95
"""Share of held-out images whose energy and out-of-distribution score are below their thresholds."""
FEWEST = 20
"""Fewest held-out images that limits are fitted on."""
SMALLEST, LARGEST = 0.05, 20.0
"""Range of temperatures."""
PRIOR = 20
"""Images that a temperature of 1 counts as: a few held-out images move the temperature away from 1 only in part."""


@dataclass(frozen=True)
class Limits:
    """Limits of a network that predicts one class for each image, fitted on held-out images."""

    temperature: float
    """Logits are divided by it before the softmax."""
    thresholds: tuple[float, ...]
    """Probability from which on a class belongs to the prediction set, for each coverage of `COVERAGES`."""
    energy: float
    """Images whose energy is higher are unlike those that the network was trained on, if `ood_score` is None."""
    images: int
    """Number of held-out images."""
    error_before: float
    """Expected calibration error of the softmax of the logits."""
    error_after: float
    """Expected calibration error with a temperature fitted on one half of the images, measured on the other."""
    ood_score: float | None = None
    """Images whose out-of-distribution score is higher are unlike those that the network was trained on. None: there is
    no such score, and the energy decides."""
    ood_rule: str | None = None
    """What the out-of-distribution score is, of `convwright.stats.ood.RULES`; None in earlier files, where it is the
    distance, and where there is no such score."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, N x classes, float64."""
        return softmax(np.asarray(logits, np.float64) / self.temperature)

    def threshold(self, coverage: float) -> float:
        """Return the probability from which on a class belongs to the prediction set.

        Args:
            coverage: Share of images whose set contains the true class, 0.5 to 0.99; rounded up to whole percent.
        """
        return self.thresholds[max(COVERAGES[0], math.ceil(round(100 * coverage, 6))) - COVERAGES[0]]

    def known(self, energies: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
        """Return for each image whether it is like those that the network was trained on, N bool.

        Args:
            energies: Energy of the logits, N.
            scores: Out-of-distribution scores, N; None: they cannot be computed, and the energy decides.
        """
        if scores is None or self.ood_score is None:
            return np.asarray(energies <= self.energy)
        return np.asarray(scores <= self.ood_score)

    def to_dict(self) -> dict[str, object]:
        """Return the fields as values that JSON can hold."""
        return asdict(self) | {"thresholds": list(self.thresholds)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described; `are_limits` must hold for it."""
        return cls(**{**stored, "thresholds": tuple(stored["thresholds"])})


OPTIONAL = frozenset(("ood_score", "ood_rule"))
"""Fields of `Limits` that may be missing in what is stored."""


def are_limits(stored: object) -> bool:
    """Return whether a value of JSON is what `Limits.to_dict` returns."""
    names = set(Limits.__dataclass_fields__)
    if not isinstance(stored, dict) or stored.keys() | OPTIONAL != names:  # files of earlier versions lack OPTIONAL
        return False
    thresholds, images = stored["thresholds"], stored["images"]
    numbers = [stored[name] for name in ("temperature", "energy", "error_before", "error_after")]
    if not isinstance(thresholds, list | tuple) or len(thresholds) != len(COVERAGES) or type(images) is not int:
        return False
    score, rule = stored.get("ood_score"), stored.get("ood_rule")
    if rule is not None and (not isinstance(rule, str) or score is None):
        return False
    every = [*numbers, *thresholds, *([] if score is None else [score])]
    if not all(type(each) in (int, float) and math.isfinite(each) for each in every):
        return False
    return images >= 1 and stored["temperature"] > 0 and all(0 <= each <= 1 for each in (*thresholds, *numbers[2:]))


def fit_limits(logits: np.ndarray, labels: np.ndarray) -> Limits:
    """Fit the limits of a network.

    Args:
        logits: Of held-out images, N x classes.
        labels: True classes, N.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits / temperature)
    scores = probabilities[np.arange(len(labels)), labels]
    return Limits(
        temperature,
        tuple(conformal_threshold(scores, coverage / 100) for coverage in COVERAGES),
        known_threshold(energy(logits)),
        len(labels),
        calibration_error(softmax(logits), labels),
        _error_on_other_half(logits, labels),
    )


def known_threshold(scores: np.ndarray) -> float:
    """Return the threshold that the scores of `KNOWN` of the held-out images do not exceed."""
    return float(np.quantile(scores, KNOWN, method="higher"))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, N x classes."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def energy(logits: np.ndarray) -> np.ndarray:
    """Return the energy of each image, N: minus the logarithm of the sum of the exponentials of its logits."""
    logits = np.asarray(logits, np.float64)
    largest = logits.max(1)
    return np.asarray(-(largest + np.log(np.exp(logits - largest[:, None]).sum(1))))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the smallest cross-entropy, within 0.05 to 20.

    `PRIOR` more images count, whose logits are like those given and whose classes are as the softmax of the logits
    predicts them. Without them, images that are all classified correctly would have the smallest temperature, however
    few they are. They change the temperature of 2,000 images by about 1 % of its distance from 1.

    The cross-entropy is convex in the inverse of the temperature; its root is found by bisection of the derivative.

    Args:
        logits: N x classes.
        labels: True classes, N.
    """
    own = logits[np.arange(len(labels)), labels]
    share = PRIOR / (len(labels) + PRIOR)
    target = (1 - share) * own.mean() + share * (softmax(logits) * logits).sum(1).mean()

    def derivative(inverse: float) -> float:
        return float((softmax(logits * inverse) * logits).sum(1).mean() - target)

    low, high = 1 / LARGEST, 1 / SMALLEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if derivative(middle) < 0 else (low, middle)
    return float(1 / (low * high) ** 0.5)


def conformal_threshold(scores: np.ndarray, coverage: float) -> float:
    """Return the probability from which on a class belongs to a prediction set.

    Args:
        scores: Probability of the true class of each held-out image.
        coverage: Share of images whose set contains the true class.

    Returns:
        The threshold; 0, so that sets have every class, where there are too few images for the coverage.
    """
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))
    return float(np.sort(scores)[::-1][rank - 1]) if rank <= len(scores) else 0.0


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy over bins by confidence.

    Args:
        probabilities: N x classes.
        labels: True classes, N.
        bins: Number of bins of equal width.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = np.bincount(places, confidence - right, bins)
    return float(np.abs(sums).sum() / len(labels))


def area_under_roc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Return the probability that an unknown image has a higher score than a known one; half for equal scores.

    Args:
        known: Scores of known images.
        unknown: Scores of unknown images.
    """
    ordered = np.sort(known)
    below, up_to = (np.searchsorted(ordered, unknown, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(known)))


def _error_on_other_half(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the calibration error of each half with the temperature of the other; all images count once."""
    if len(labels) < 2:
        return calibration_error(softmax(logits), labels)
    order = np.random.default_rng(0).permutation(len(labels))
    halves = order[: len(labels) // 2], order[len(labels) // 2 :]
    calibrated = np.empty_like(logits)
    for fitted_on, other in (halves, halves[::-1]):
        calibrated[other] = logits[other] / fit_temperature(logits[fitted_on], labels[fitted_on])
    return calibration_error(softmax(calibrated), labels)

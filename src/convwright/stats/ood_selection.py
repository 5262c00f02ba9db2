"""What the out-of-distribution score of a network is: chosen by its own training and held-out images alone.

Images of the unknown kinds that a network will meet are not available. The candidates are compared on stand-ins:

- new classes: each class in turn is left out of the distances and of the logits, and its held-out images are unknown;
- near: held-out images with their quarters in another order, turned, mixed, or joined from two halves;
- far: held-out images inverted, with their pixels in random order, and noise.

The mean of the three areas under the ROC curve decides. The network has seen the classes that are left out, which
favours the energy; it has not seen the altered images, which differ in texture and favour the distance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from convwright.stats.limits import KNOWN, area_under_roc, energy
from convwright.stats.ood import FEWEST_TRAINING, RULES, OodModel, combined

NEAR = ("quarters", "turned", "mixed", "halves")
FAR = ("inverted", "shuffled", "noise")
"""Kinds of altered images."""
MOST_CLASSES = 20
"""Most classes that are left out in turn."""
FEWEST_IMAGES = 5
"""Fewest held-out images of a class that is left out."""

Measured = tuple[np.ndarray, np.ndarray]
"""Distances and energies of images."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of some images."""

    features: np.ndarray
    """N x p."""
    logits: np.ndarray
    """N x classes."""
    labels: np.ndarray | None = None
    """True classes, N; None where they are not needed."""


def choose_rule(model: OodModel, training: Seen, held: Seen, outliers: Mapping[str, Seen]) -> OodModel:
    """Return a fitted distance with the best combination of distance and energy.

    Args:
        model: The distance, fitted on the training images.
        training: Training images, with labels.
        held: Held-out images, with labels.
        outliers: Altered held-out images by kind, of `NEAR` and `FAR`.

    Returns:
        The model; of equal combinations the first one of `RULES`.
    """
    found = rule_ratings(model, training, held, outliers)
    best = max(RULES, key=lambda rule: found[rule])
    return model if best == RULES[0] else with_rule(model, best, held)


def with_rule(model: OodModel, rule: str, held: Seen) -> OodModel:
    """Return a model that combines distance and energy by one of `RULES`, normalised on held-out images."""
    numbers = _normalisation(model.distances(held.features), energy(held.logits))
    return replace(model, combination=np.array([RULES.index(rule), *numbers], np.float32))


def rule_ratings(model: OodModel, training: Seen, held: Seen, outliers: Mapping[str, Seen]) -> dict[str, float]:
    """Return how well each of `RULES` recognises the stand-ins for unknown images: a mean AUROC; see `choose_rule`."""

    def measured(seen: Seen) -> Measured:
        return model.distances(seen.features), energy(seen.logits)

    known_images = measured(held)
    groups = [
        _areas(known_images, [measured(outliers[kind]) for kind in kinds if kind in outliers]) for kinds in (NEAR, FAR)
    ]
    groups.append(_areas_of_classes(model, training, held))
    known = [np.mean(group, 0) for group in groups if group]
    means = np.mean(known, 0) if known else np.zeros(len(RULES))
    return {rule: float(mean) for rule, mean in zip(RULES, means, strict=True)}


def _areas_of_classes(model: OodModel, training: Seen, held: Seen) -> list[list[float]]:
    """Return the AUROC of each rule for each class that is left out of the means and the whitening.

    The principal components stay those of all classes: they are nearly the same, and take most of the time of a fit.
    """
    assert training.labels is not None
    assert held.labels is not None
    found: list[list[float]] = []
    classes, counts = np.unique(held.labels, return_counts=True)
    usable = classes[counts >= FEWEST_IMAGES]
    if training.logits.shape[1] < 3:
        return found
    trained, held_at = model.coordinates(training.features), model.coordinates(held.features)
    for label in np.random.default_rng(0).permutation(usable)[:MOST_CLASSES]:
        others = np.delete(np.arange(training.logits.shape[1]), label)
        seen, known = training.labels != label, held.labels != label
        without = model.refitted(trained[seen], training.labels[seen]) if seen.sum() >= FEWEST_TRAINING else None
        if without is None or not known.any():
            continue
        distances = without.distances_at(held_at)
        rest, new = ((distances[rows], energy(held.logits[rows][:, others])) for rows in (known, ~known))
        found += _areas(rest, [new])
    return found


def _areas(known: Measured, unknown: Sequence[Measured]) -> list[list[float]]:
    """Return the AUROC of each rule for each kind of unknown images."""
    numbers = _normalisation(*known)
    found = []
    for theirs in unknown:
        row = []
        for place in range(len(RULES)):
            combination = np.array([place, *numbers])
            row.append(area_under_roc(combined(combination, *known), combined(combination, *theirs)))
        found.append(row)
    return found


def _normalisation(distances: np.ndarray, energies: np.ndarray) -> list[float]:
    """Return median and spread, up to the quantile `KNOWN`, of distances and of energies."""
    numbers = []
    for values in (distances, energies):
        middle, high = (float(number) for number in np.quantile(values, (0.5, KNOWN)))
        numbers += [middle, max(high - middle, 1e-6 * max(abs(middle), 1.0))]
    return numbers

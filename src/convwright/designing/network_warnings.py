"""Warnings about the network of a design: accuracy no better than chance, or too little training."""

import math
from collections.abc import Mapping, Sequence

from convwright.designing.time_plan import RACE_SHARE
from convwright.designing.winner_record import ScoredImages
from convwright.display.wording import counted, interval, percent

MIN_EPOCHS, ENOUGH_EPOCHS = 1.0, 8.0
"""Epochs below which a network is barely trained, and those for which the warning has the minutes."""
LAST_SHARE = 0.25
"""Share of the training in which a steep rise of the validation accuracy shows that it was too short."""
STEEP = 0.05
"""Rise of the validation accuracy in the last part of the training that counts as steep, 0 to 1."""
MIN_STANDARD_ERRORS = 2.0
"""Standard errors that a rise must exceed."""


def network_warnings(
    score: ScoredImages,
    class_counts: Sequence[int],
    metrics: Sequence[Mapping[str, float]],
    train_seconds: float,
    val_images: int,
    seconds: float,
) -> list[str]:
    """Return the warnings about the network of a design, a sentence each.

    Args:
        score: How many test images it classifies correctly.
        class_counts: Test images of each class.
        metrics: Rows of its validations.
        train_seconds: Seconds of its training.
        val_images: Number of validation images.
        seconds: Time that was requested for the design.
    """
    found = [no_better_than_chance(score, class_counts), _too_short(metrics, train_seconds, val_images, seconds)]
    return [each for each in found if each]


def no_better_than_chance(score: ScoredImages, class_counts: Sequence[int]) -> str:
    """Return a warning if an accuracy is not significantly above that of predicting one class; empty otherwise.

    Args:
        score: How many test images are classified correctly.
        class_counts: Test images of each class.
    """
    chance = max(class_counts, default=0) / max(1, sum(class_counts))
    if score.interval[0] > chance:
        return ""
    return (
        f"the accuracy on the test images, {percent(score.accuracy)} ({interval(score.interval)}), is not "
        f"significantly higher than the {percent(chance)} of always predicting the most frequent class: the network "
        "has learnt little or nothing; give more time or images, or correct the labels"
    )


def _too_short(metrics: Sequence[Mapping[str, float]], train_seconds: float, val_images: int, seconds: float) -> str:
    """Return a warning if a training was too short; empty otherwise."""
    if not metrics:
        return ""
    epochs = metrics[-1]["epoch"]
    if epochs < MIN_EPOCHS:
        more = train_seconds / max(epochs, 1e-9) * (ENOUGH_EPOCHS - epochs)
        minutes = math.ceil((seconds + more / (1 - RACE_SHARE)) / 60)
        return (
            f"the network was trained for only {epochs:.2g} epochs; a design of about {counted(minutes, 'minute')} "
            f"would train it for {ENOUGH_EPOCHS:g} epochs on this machine"
        )
    rise = steep_rise(metrics, val_images)
    if not rise:
        return ""
    return (
        f"the validation accuracy still rose by {100 * rise:.1f} percentage points in the last quarter of the "
        "training; more time would help"
    )


def steep_rise(metrics: Sequence[Mapping[str, float]], val_images: int) -> float:
    """Return by how much the validation accuracy rose in the last part of a training; 0 if that is little or noise.

    Args:
        metrics: Rows of the validations.
        val_images: Number of validation images.
    """
    begins = (1 - LAST_SHARE) * metrics[-1]["epoch"]
    before = [row["val_accuracy"] for row in metrics if row["epoch"] <= begins]
    after = [row["val_accuracy"] for row in metrics if row["epoch"] > begins]
    before, after = ([each for each in rows if math.isfinite(each)] for rows in (before, after))
    if not before or not after:
        return 0.0
    low, high = max(before), max(after)
    noise = math.sqrt((low * (1 - low) + high * (1 - high)) / max(1, val_images))
    return high - low if high - low >= max(STEEP, MIN_STANDARD_ERRORS * noise) else 0.0

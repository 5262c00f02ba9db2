"""When a run is validated."""

import math

from convwright.data import Batches

WANTED_VALIDATIONS = 5
"""Smallest number of validations of a short run, for a useful learning curve."""
FROZEN_VALIDATIONS = 3
"""Validations while the backbone is frozen at first (`Recipe.freeze_epochs`)."""
TRAINED_PER_VALIDATED = 2
"""Smallest number of training images per validated image; it takes precedence over `WANTED_VALIDATIONS`."""
MOST_ON_FEATURES = 50
"""Most validations of a classifier that is trained on stored features: an epoch takes less time than saving weights."""


def validation_steps(
    steps: int,
    frozen_steps: int,
    batches: Batches,
    val_images: int,
    *,
    once: bool = False,
    on_features: bool = False,
) -> tuple[int, list[int]]:
    """Return how many validations there are while the backbone is frozen at first, and the steps of all.

    Args:
        steps: Steps of the run.
        frozen_steps: Those of them at which the backbone is frozen, the first ones.
        batches: The batches of the run.
        val_images: Number of validation images.
        once: Whether to validate at the end of each phase only.
        on_features: Whether the classifier alone is trained in the whole run.
    """
    count = min(frozen_steps, 1 if once else FROZEN_VALIDATIONS)
    frozen = [math.ceil(frozen_steps * (index + 1) / count) for index in range(count)]
    left = steps - frozen_steps
    period = left if once else validation_period(left, batches, val_images, on_features=on_features)
    return count, [*frozen, *range(frozen_steps + period, steps, period), steps]


def validation_period(steps: int, batches: Batches, val_images: int, *, on_features: bool = False) -> int:
    """Return the number of steps from one validation to the next: an epoch, or less in a run of few epochs.

    Args:
        steps: Steps of the run.
        batches: The batches of the run.
        val_images: Number of validation images.
        on_features: Whether the classifier alone is trained; a period is then several epochs of a long run.
    """
    if on_features and steps > MOST_ON_FEATURES * batches.steps_per_epoch:
        return math.ceil(steps / MOST_ON_FEATURES)
    affordable = steps * batches.batch_size // (TRAINED_PER_VALIDATED * val_images)
    wanted = max(1, min(WANTED_VALIDATIONS, affordable))
    return min(batches.steps_per_epoch, math.ceil(steps / wanted))

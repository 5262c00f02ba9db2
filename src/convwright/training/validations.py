"""When a run is validated."""

import math

from convwright.data import Batches

WANTED_VALIDATIONS = 5
"""Smallest number of validations of a short run, for a useful learning curve."""
FROZEN_VALIDATIONS = 3
"""Validations while the backbone is frozen at first (`Recipe.freeze_epochs`)."""
TRAINED_PER_VALIDATED = 2
"""Smallest number of training images per validated image; it takes precedence over `WANTED_VALIDATIONS`."""


def validation_steps(
    steps: int, frozen_steps: int, batches: Batches, val_images: int, *, once: bool = False
) -> tuple[int, list[int]]:
    """Return how many validations there are while the backbone is frozen at first, and the steps of all.

    Args:
        steps: Steps of the run.
        frozen_steps: Those of them at which the backbone is frozen, the first ones.
        batches: The batches of the run.
        val_images: Number of validation images.
        once: Whether to validate at the end of each phase only.
    """
    count = min(frozen_steps, 1 if once else FROZEN_VALIDATIONS)
    frozen = [math.ceil(frozen_steps * (index + 1) / count) for index in range(count)]
    left = steps - frozen_steps
    period = left if once else validation_period(left, batches, val_images)
    return count, [*frozen, *range(frozen_steps + period, steps, period), steps]


def validation_period(steps: int, batches: Batches, val_images: int) -> int:
    """Return the number of steps from one validation to the next: an epoch, or less in a run of few epochs."""
    affordable = steps * batches.batch_size // (TRAINED_PER_VALIDATED * val_images)
    wanted = max(1, min(WANTED_VALIDATIONS, affordable))
    return min(batches.steps_per_epoch, math.ceil(steps / wanted))

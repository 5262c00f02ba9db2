"""How many epochs fit into the minutes at hand, on this machine."""

import math
import time
from itertools import islice
from statistics import mean, median

from convwright.arch import Network
from convwright.data import Dataset, evaluation_batches
from convwright.training.config import TrainConfig
from convwright.training.devices import world_size
from convwright.training.evaluation import evaluate
from convwright.training.loop import EVALUATION_BATCH, make_learner, training_batches, validation_period

WARM_UP_STEPS, MEASURED_STEPS, MEASURED_BATCHES = 4, 20, 2
RESERVE = 0.05
"""Share of the time that is kept for checkpoints, and for a machine that becomes slower."""


def epochs_within(minutes: float, config: TrainConfig, network: Network, data: Dataset, most: float = 200) -> float:
    """Measure some steps of a throw-away network; return the number of epochs (a fraction, `most` at most).

    Validations, which cost time too, are counted in.
    """
    config = config.model_copy(update={"devices": world_size()})
    learner = make_learner(config, network, data)
    batches = training_batches(config, data)
    steps = batches.steps_per_epoch
    times = []
    for step in range(-WARM_UP_STEPS, MEASURED_STEPS):
        started = time.monotonic()
        # Spread over the run, since the images of a progressive one grow.
        learner.learn(*batches.at(max(0, step)), max(0, step) * 10**4, steps=MEASURED_STEPS * 10**4)
        times.append(time.monotonic() - started)
    typical = mean if config.recipe.progressive else median
    step_seconds = typical(times[WARM_UP_STEPS:])

    started = time.monotonic()
    sample = islice(evaluation_batches(data.val, data, EVALUATION_BATCH), MEASURED_BATCHES)
    seen = evaluate(learner.module, sample, learner.fabric.device).images
    validation_seconds = (time.monotonic() - started) * len(data.val) / seen

    def seconds(epochs: float) -> float:
        taken = max(1, round(epochs * steps))
        validations = math.ceil(taken / validation_period(taken, batches, len(data.val)))
        return taken * step_seconds + validations * validation_seconds

    budget = 60 * minutes * (1 - RESERVE)
    epochs = min(most, budget / (steps * step_seconds))
    while seconds(epochs) > budget and epochs * steps > 1:
        epochs *= 0.98
    return round(max(epochs, 1 / steps), 4)

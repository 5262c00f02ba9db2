"""How many epochs fit into a number of minutes on this machine."""

import math
import time
from dataclasses import replace
from itertools import islice
from statistics import mean, median

import torch

from convwright.arch import Network
from convwright.data import Dataset, evaluation_batches
from convwright.training.config import TrainConfig
from convwright.training.devices import world_size
from convwright.training.evaluation import batch_for, evaluate
from convwright.training.frozen import features_of
from convwright.training.initial_weights import InitialWeights
from convwright.training.loop import validation_period
from convwright.training.preparation import make_learner, training_batches
from convwright.training.step import Learner

WARM_UP_STEPS, MEASURED_STEPS, MEASURED_BATCHES = 4, 20, 2
MEASURING_RATE = 1e-12
"""Learning rate of the measured steps."""
SAMPLE = 256
"""Images of each split on which a frozen backbone is timed."""
RESERVE = 0.05
"""Share of the time that is kept for checkpoints, and for a machine that becomes slower."""


def epochs_in_minutes(
    minutes: float,
    config: TrainConfig,
    network: Network,
    data: Dataset,
    most: float = 200,
    *,
    initial: InitialWeights | None = None,
    learner: Learner | None = None,
) -> float:
    """Return how many epochs fit into a time, by measuring some steps of a temporary copy of the network.

    Validations, which cost time too, are counted in, and so are the measuring itself and a frozen backbone's one pass
    over the images.

    Args:
        minutes: The time.
        config: The configuration; its epochs are ignored.
        network: Network to train.
        data: The images.
        most: Largest number of epochs.
        initial: Weights to start from; random ones by default.
        learner: Network to measure; by default one is made.

    Returns:
        Epochs, a fraction if there is no time for a whole one; at least one step.
    """
    began = time.monotonic()
    config = config.model_copy(update={"devices": world_size()})
    learner = learner or make_learner(config, network, data, initial=initial)
    batches = training_batches(config, data)
    steps = batches.steps_per_epoch
    reading_seconds = 0.0
    whole, images = data, len(data.train) + len(data.val)
    if learner.reads_features:
        few = [part.choose(torch.arange(min(SAMPLE, len(part)))) for part in (data.train, data.val)]
        started = time.monotonic()
        data = features_of(learner.backbone, replace(data, train=few[0], val=few[1]), learner.fabric.device)
        reading_seconds = (time.monotonic() - started) * images / (len(data.train) + len(data.val))
        batches = training_batches(config, data)
    learner.train()
    # These steps take as long as any, and cannot diverge.
    learner.recipe = config.recipe.model_copy(update={"learning_rate": MEASURING_RATE})
    times = []
    for step in range(-WARM_UP_STEPS, MEASURED_STEPS):
        started = time.monotonic()
        # Spread over the run, since the images of a progressive one grow.
        learner.train_step(*batches.at(max(0, step)), max(0, step) * 10**4, steps=MEASURED_STEPS * 10**4)
        times.append(time.monotonic() - started)
    typical = mean if config.recipe.progressive else median
    step_seconds = typical(times[WARM_UP_STEPS:])

    started = time.monotonic()
    sample = islice(evaluation_batches(data.val, data, batch_for(network)), MEASURED_BATCHES)
    seen = evaluate(learner.validated, sample, learner.fabric.device).images
    validation_seconds = (time.monotonic() - started) * len(whole.val) / seen

    def seconds(epochs: float) -> float:
        taken = max(1, round(epochs * steps))
        validations = math.ceil(taken / validation_period(taken, batches, len(whole.val)))
        return taken * step_seconds + validations * validation_seconds

    spent = time.monotonic() - began + reading_seconds
    budget = max(60 * minutes * (1 - RESERVE) - spent, step_seconds)
    epochs = min(most, budget / (steps * step_seconds))
    while seconds(epochs) > budget and epochs * steps > 1:
        epochs *= 0.98
    return round(max(epochs, 1 / steps), 4)

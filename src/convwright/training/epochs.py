"""How many epochs fit into a number of minutes on this machine."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from convwright.arch import Network
from convwright.data import Dataset, evaluation_batches
from convwright.timing import median_seconds
from convwright.training.config import TrainConfig
from convwright.training.devices import world_size
from convwright.training.evaluation import batch_for, evaluate, evaluate_multi_label
from convwright.training.frozen import compute_features, has_features
from convwright.training.initial_weights import InitialWeights
from convwright.training.preparation import make_learner, training_batches
from convwright.training.step import Learner
from convwright.training.validations import FROZEN_VALIDATIONS, validation_period

WARM_UP_STEPS, MEASURED_STEPS = 4, 7
ROUNDS, MOST_ROUNDS = 3, 6
"""Rounds of each measurement, and rounds at most where this process had to wait in some of them."""
MOST_WAITING = 2.0
"""Largest factor between the time of a round and what the processor computed in it."""
MEASURING_RATE = 1e-12
"""Learning rate of the measured steps."""
MEASURING = 0.12
"""Share of the time after which measuring ends, with fewer steps and rounds."""
LEAST_ON_FEATURES = 10.0
"""Fewest epochs of a classifier on features, which take little time beside the features."""
SAMPLE = 64
"""Images of each split on which a frozen backbone is timed in a round."""
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
    until = began + MEASURING * 60 * minutes
    config = config.model_copy(update={"devices": world_size()})
    learner = learner or make_learner(config, network, data, initial=initial)
    whole, batches = data, training_batches(config, data)
    steps, frozen_seconds = batches.steps_per_epoch, 0.0
    if learner.reads_features:
        known = has_features(learner.backbone, whole)
        data, seconds_per_image = _features(learner, data, until)
        frozen_seconds = 0.0 if known else seconds_per_image * (len(whole.train) + len(whole.val))
    if config.recipe.freeze_epochs:
        step_seconds, validation_seconds = _measured(learner, config, network, data, len(whole.val), until)
        frozen_seconds += step_seconds * round(config.recipe.freeze_epochs * steps)
        frozen_seconds += FROZEN_VALIDATIONS * validation_seconds
        learner.unfreeze()
        data = whole
    step_seconds, validation_seconds = _measured(learner, config, network, data, len(whole.val), until)

    def seconds(epochs: float) -> float:
        taken = max(1, round(epochs * steps))
        period = validation_period(taken, batches, len(whole.val), on_features=config.recipe.freeze)
        validations = math.ceil(taken / period)
        return taken * step_seconds + validations * validation_seconds

    spent = time.monotonic() - began + frozen_seconds
    budget = max(60 * minutes * (1 - RESERVE) - spent, step_seconds)
    epochs = min(most, budget / (steps * step_seconds))
    while seconds(epochs) > budget and epochs * steps > 1:
        epochs *= 0.98
    if learner.reads_features:
        epochs = max(epochs, min(most, LEAST_ON_FEATURES))
    return round(max(epochs, 1 / steps), 4)


def _measured(
    learner: Learner, config: TrainConfig, network: Network, data: Dataset, val_images: int, until: float
) -> tuple[float, float]:
    """Return the seconds of a training step, and of a validation on some number of images.

    After `until`, in seconds of `time.monotonic`, no step is taken that is not needed.
    """
    batches = training_batches(config, data, learner.devices)
    learner.train()
    # These steps take as long as any, and cannot diverge.
    learner.recipe = config.recipe.model_copy(update={"learning_rate": MEASURING_RATE})

    def take_steps(*numbers: int) -> None:
        for step in numbers:  # spread over the run, since the images of a progressive one grow
            learner.train_step(*batches.at(step), step * 10**4, steps=MEASURED_STEPS * 10**4)

    step_seconds = _step_seconds(take_steps, until)
    batch = next(iter(evaluation_batches(data.val, data, batch_for(network))))
    measure = evaluate_multi_label if data.multi_label else evaluate
    validation_seconds = typical_seconds(lambda: measure(learner.validated, [batch], learner.fabric.device), until)
    return step_seconds, validation_seconds * val_images / len(batch[1])


def _step_seconds(take_steps: Callable[..., None], until: float) -> float:
    """Return the typical seconds of a step; after `until`, those of a single one."""
    for warm_up in range(WARM_UP_STEPS):
        seconds = median_seconds(lambda: take_steps(MEASURED_STEPS // 2), at_least=1, warm_up=0)
        if warm_up and time.monotonic() > until:
            return seconds
    few = max(1, min(MEASURED_STEPS, int((until - time.monotonic()) / seconds)))
    numbers = [(2 * at + 1) * MEASURED_STEPS // (2 * few) for at in range(few)]  # evenly, around the middle
    return typical_seconds(lambda: take_steps(*numbers), until) / few


def _features(learner: Learner, data: Dataset, until: float) -> tuple[Dataset, float]:
    """Return a frozen backbone's features of some images of each split, and the seconds that one image takes."""
    few = [part.choose(torch.arange(min(SAMPLE, len(part)))) for part in (data.train, data.val)]
    sample = replace(data, train=few[0], val=few[1])

    def features() -> Dataset:
        return compute_features(learner.backbone, sample)

    found = features()  # warms up, too
    return found, typical_seconds(features, until) / sum(map(len, few))


def typical_seconds(work: Callable[[], object], until: float = math.inf) -> float:
    """Return the median time of a call over several rounds, so that a short stall of the machine does not count.

    Rounds in which this process mostly waited are repeated. Where the machine is busy all the time, as training will
    find it too, all rounds count.

    Args:
        work: The call.
        until: Seconds of `time.monotonic` after which no further round begins.
    """
    kept: list[float] = []
    every: list[float] = []
    while len(kept) < ROUNDS and len(every) < MOST_ROUNDS:
        computed = time.process_time()
        seconds = median_seconds(work, at_least=1, warm_up=0)
        every.append(seconds)
        if seconds <= MOST_WAITING * (time.process_time() - computed):
            kept.append(seconds)
        if time.monotonic() > until:
            break
    return median(kept if len(kept) >= ROUNDS else every)

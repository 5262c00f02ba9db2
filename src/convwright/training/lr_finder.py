"""The learning-rate range test: the largest rate at which a network learns (Smith 2017, section 3.3)."""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from convwright.arch import Network
from convwright.data import Dataset
from convwright.errors import ConvwrightError
from convwright.training.config import TrainConfig
from convwright.training.devices import world_size
from convwright.training.frozen import features_of
from convwright.training.initial_weights import InitialWeights
from convwright.training.precision import DivergedError
from convwright.training.preparation import make_learner, training_batches
from convwright.training.step import Learner

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 100
SMOOTHING = 0.9
"""Share of the past in the running mean of the loss."""
HOPELESS = 3.0
"""The test ends when the loss is this many times the lowest."""
LEAST_FALL = 0.02
"""Smallest relative decrease of the loss that counts as a decrease."""
MARGIN = 10.0
"""The chosen rate is the one of the lowest loss divided by this, as the loss is about to rise there."""


@dataclass(frozen=True)
class LearningRateCurve:
    """Smoothed losses by learning rate, and the rate that is chosen from them."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    chosen: float

    def to_csv(self) -> str:
        """Return the curve as CSV."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("learning_rate", "loss"))
        writer.writerows(zip(self.rates, self.losses, strict=True))
        return text.getvalue()


def find_learning_rate(
    config: TrainConfig,
    network: Network,
    data: Dataset,
    progress: Callable[[int, int, str], None] | None = None,
    initial: InitialWeights | None = None,
    learner: Learner | None = None,
) -> LearningRateCurve:
    """Run a learning-rate range test (Smith 2017, section 3.3) on a temporary copy of the network.

    The rate rises exponentially from `LOWEST` to `HIGHEST` over `STEPS` steps. The result depends on the arguments
    alone, the seed in `config` among them.

    Args:
        config: Recipe, batch size and seed; the recipe's learning rate and schedule are ignored.
        network: Network to train.
        data: Its training images.
        progress: Called with the steps done, all steps, and what they are for.
        initial: Weights to start from; random ones by default.
        learner: Network in its initial state to run the test on; by default one is made.

    Returns:
        Smoothed losses by learning rate, and the rate with the lowest one divided by `MARGIN`.

    Raises:
        ConvwrightError: The loss falls at no rate.
    """
    config = config.model_copy(update={"devices": world_size()})
    learner = learner or make_learner(config, network, data, initial=initial)
    if learner.reads_features:
        data = features_of(learner.backbone, _shown(config, data))
    learner.train()
    batches = training_batches(config, data, learner.devices)
    constant = config.recipe.model_copy(update={"schedule": "constant", "warm_up": 0.0, "progressive": 0.0})
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for step in range(STEPS):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
        learner.recipe = constant.model_copy(update={"learning_rate": rate})
        try:
            loss, _ = learner.train_step(*batches.at(step), step, STEPS)
        except DivergedError:
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))  # corrects for a mean that starts at 0
        if progress:
            progress(step + 1, STEPS, "finding a learning rate")
        if losses[-1] > HOPELESS * min(losses):
            break
    if not losses or min(losses) > (1 - LEAST_FALL) * losses[0]:
        raise ConvwrightError(
            f"no learning rate from {LOWEST:g} to {HIGHEST:g} lets the loss fall; check data and labels"
        )
    return LearningRateCurve(tuple(rates), tuple(losses), _rounded(rates[losses.index(min(losses))] / MARGIN))


def _shown(config: TrainConfig, data: Dataset) -> Dataset:
    """Return the data with only those training images that the test's steps show, drawn over all classes.

    One validation image is left, as a data set needs one; the test does not look at it.
    """
    batches = training_batches(config, data)
    rows = torch.cat([batches.rows_at(step) for step in range(STEPS)]).unique()
    return replace(data, train=data.train.choose(rows), val=data.val.choose(torch.arange(1)))


def _rounded(rate: float) -> float:
    """Return the rate in two digits, which are more than the test can distinguish."""
    return round(rate, 1 - math.floor(math.log10(rate)))

"""The network that a configuration trains, and the batches that it is trained on."""

from dataclasses import fields

from convwright.arch import Network
from convwright.data import Augmentation, Batches, Dataset
from convwright.training.config import TrainConfig
from convwright.training.devices import Devices
from convwright.training.initial_weights import InitialWeights
from convwright.training.step import Learner, balanced


def make_learner(
    config: TrainConfig,
    network: Network,
    data: Dataset,
    devices: Devices | None = None,
    initial: InitialWeights | None = None,
) -> Learner:
    """Return a network that is to learn from a data set."""
    weights = balanced(data.train.labels, len(data.classes)) if config.recipe.class_weights == "balanced" else None
    return Learner(config, network, weights, devices, initial)


def training_batches(config: TrainConfig, data: Dataset) -> Batches:
    """Return the batches that a configuration trains on."""
    augmentation = Augmentation(**config.recipe.model_dump(include={each.name for each in fields(Augmentation)}))
    return Batches(data.train, data, config.batch_size, config.seed, augmentation)

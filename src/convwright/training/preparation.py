"""The network that a configuration trains, and the batches that it is trained on."""

from dataclasses import fields

from convwright.arch import Network
from convwright.data import Augmentation, Batches, Dataset
from convwright.errors import DataError
from convwright.printable import printable
from convwright.training.config import TrainConfig
from convwright.training.devices import Devices
from convwright.training.frozen import Features
from convwright.training.initial_weights import InitialWeights
from convwright.training.loss import class_weights
from convwright.training.step import Learner
from convwright.training.teacher import Teacher


def check_labelled(data: Dataset) -> None:
    """Check that some validation images have a class, where images may have several or none.

    Raises:
        DataError: None of them has.
    """
    if data.multi_label and not bool(data.val.labels.any()):
        raise DataError(f"{printable(data.name)}: no validation image has a class; mean average precision needs some")


def make_learner(
    config: TrainConfig,
    network: Network,
    data: Dataset,
    devices: Devices | None = None,
    initial: InitialWeights | None = None,
    teacher: Teacher | None = None,
) -> Learner:
    """Return a network that is to learn from a data set, and from a teacher if there is one."""
    labels = data.train.labels
    weights = class_weights(config.recipe, labels, len(data.classes))
    taught = teacher.module(data.mean, data.std) if teacher else None
    return Learner(config, network, weights, devices, initial, multi_label=labels.ndim == 2, teacher=taught)


def training_batches(config: TrainConfig, data: Dataset, devices: Devices | None = None) -> Batches:
    """Return the batches that a configuration trains on; features of a frozen backbone are not augmented.

    Args:
        config: The configuration.
        data: The images, or their features.
        devices: The processes that share each batch, which augment it on their devices; None: there is one, which
            does so on the CPU.
    """
    if isinstance(data, Features):
        return Batches(data.train, data, config.batch_size, config.seed, sampling=config.recipe.sampling)
    augmentation = Augmentation(**config.recipe.model_dump(include={each.name for each in fields(Augmentation)}))
    part = (devices.rank, devices.size) if devices else (0, 1)
    device = devices.fabric.device if devices else None
    given = (data.train, data, config.batch_size, config.seed, augmentation)
    return Batches(*given, sampling=config.recipe.sampling, device=device, part=part)

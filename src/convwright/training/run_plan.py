"""A plan: a request to train with everything that was left open in it chosen or measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from convwright import json_text
from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.arch.resolution import format_sides
from convwright.data import Dataset
from convwright.display.result import Block, Lines, Result
from convwright.display.wording import counted
from convwright.errors import UsageError
from convwright.printable import printable
from convwright.training.advice import Advice
from convwright.training.config import OWN_NETWORK, TrainConfig
from convwright.training.initial_weights import InitialWeights
from convwright.training.lr_finder import LearningRateCurve
from convwright.training.request import TrainRequest
from convwright.training.teacher import Teacher

CURVE, ADVICE = "lr_finder.csv", "advice.json"
"""Files of a run directory: the learning-rate test, and what was chosen for the data."""


@dataclass(frozen=True)
class Plan(Result):
    """A resolved request: `train` carries it out.

    Raises:
        UsageError: The configuration names another network than the one that the plan contains.
    """

    request: TrainRequest
    config: TrainConfig
    network: Network
    data: Dataset
    out: Path
    """The run directory to make."""
    initial: InitialWeights | None = None
    teacher: Teacher | None = None
    """The network whose predictions are learnt, if there is one."""
    learning_rate_curve: LearningRateCurve | None = None
    """The curve of the learning-rate test, if there was one."""
    notes: tuple[str, ...] = ()
    """What was found out or left out on the way."""
    advice: Advice | None = None
    """What was chosen for the data, the time and this machine; None where the request left none of it open."""

    def __post_init__(self) -> None:
        if self.config.network not in (self.network.name, OWN_NETWORK):
            raise UsageError(f"the configuration names {self.config.network!r}, not {self.network.name!r}")

    @cached_property
    def files(self) -> dict[str, str | bytes]:
        """Content of further files of the run directory, by name."""
        found: dict[str, str | bytes] = {}
        if self.learning_rate_curve:
            found[CURVE] = self.learning_rate_curve.to_csv()
        if self.advice:
            found[ADVICE] = json_text.dump(self.advice.to_dict(), indent=1) + "\n"
        return found

    @property
    def device(self) -> str:
        """What trains the network: `cpu` or `cuda`."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def operators(self) -> str:
        """Operators of the training: `torch` or `fused`, also `memory-efficient` or `compiled`."""
        names = ["fused" if self.config.fused else "torch"]
        return " ".join(
            [*names, *["memory-efficient"] * self.config.memory_efficient, *["compiled"] * self.config.compile]
        )

    def to_dict(self) -> dict[str, object]:
        """Return configuration, run directory, network, images by split, device, operators and notes."""
        costs = cost(self.network)
        splits = {"train": self.data.train, "val": self.data.val, "test": self.data.test}
        return {
            "config": self.config.model_dump(mode="json"),
            "out": str(self.out),
            "network": self.network.name,
            "params": costs.params,
            "macs": costs.macs,
            "classes": list(self.data.classes),
            "images": {name: len(split) for name, split in splits.items() if split is not None},
            "device": self.device,
            "operators": self.operators,
            "notes": list(self.notes),
        }

    def blocks(self) -> Iterable[Block]:
        """Yield data, network and training in a line each, and the notes."""
        yield Lines("\n".join([*self.notes, described(self.data, self.network, self.config, self.operators)]))


def _phases(config: TrainConfig) -> str:
    """Return how long which weights are trained."""
    epochs, first = counted(config.epochs, "epoch"), config.recipe.freeze_epochs
    if first:
        return (
            f"the classifier alone for {counted(first, 'epoch')} on features that are computed once, "
            f"then all weights for {epochs}"
        )
    return f"the classifier alone for {epochs}" if config.recipe.freeze else epochs


def described(data: Dataset, network: Network, config: TrainConfig, operators: str = "torch") -> str:
    """Return data, network and training in a line each."""
    costs = cost(network)
    train, val = f"{len(data.train):,} training", f"{len(data.val):,} validation"
    images = f"{train} and {val}" if data.test is None else f"{train}, {val} and {len(data.test):,} test"
    several = f", {config.devices} devices" if config.devices > 1 else ""
    several += f", {operators} operators" if operators != "torch" else ""
    size = f"{format_sides(data.resolution)} x {data.channels}"
    return (
        f"data: {printable(data.name)}, {len(data.classes)} classes, {size}, "
        f"{images} images\n"
        f"network: {printable(network.name)}, {costs.params:,} parameters, "
        f"{costs.macs / 1e6:,.1f} M MACs (multiply-adds)\n"
        f"training: {_phases(config)}, batch size {config.batch_size}, {config.recipe.optimizer}, "
        f"learning rate {config.recipe.learning_rate:g}, seed {config.seed}{several}"
    )

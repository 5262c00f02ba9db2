"""Trained networks opened for explaining: in torch, with a title beside others and the run that they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from convwright.brief import Brief
from convwright.data import Dataset
from convwright.errors import ArgumentError
from convwright.evaluation.overlap import overlap_sentence
from convwright.explain.variants import SPLITS
from convwright.prediction.base import BasePredictor
from convwright.prediction.files import RunPredictor
from convwright.prediction.network import Predictor, find_device, load
from convwright.training.run import Run
from convwright.training.run_data import open_run_data
from convwright.zoo.reading import is_network, read_network


@dataclass(frozen=True, eq=False)
class OpenNetwork(Brief):
    """A trained network in torch."""

    title: str
    """Name of the run's folder, or of the network."""
    predictor: Predictor
    run: Run | None = None
    """The run that the network comes from; None for published weights and other predictors."""

    @property
    def name(self) -> str:
        """What JSON names as the run: its directory, or the title where there is no run."""
        return str(self.run.path) if self.run else self.title

    @cached_property
    def data(self) -> Dataset:
        """The data of the run.

        Raises:
            ArgumentError: The network comes from no run.
        """
        if self.run is None:
            raise ArgumentError("run", f"{self.title} has no data; give a run directory")
        return open_run_data(self.run)

    def overlap(self, split: str) -> str:
        """Return a sentence on images of a split that the network was trained on as well; empty where none is known."""
        part = {"val": self.data.val, "test": self.data.test}.get(split) if self.run else None
        return overlap_sentence(self.run, self.data, part, SPLITS[split]) if part is not None else ""


AnyNetwork = Run | str | Path | BasePredictor | OpenNetwork
"""A run or its directory, a predictor, or with published weights a network's expression."""


def open_network(
    value: AnyNetwork, device: str = "auto", weights: str | None = None, parameter: str = "run"
) -> OpenNetwork:
    """Open a run, or a network with published weights.

    Args:
        value: A run or its directory, a predictor, or a network's name or expression.
        device: Where the network computes: `cpu`, `cuda` or `auto`. A predictor stays where it is.
        weights: Published weights for a network: `pretrained`, `torchvision`, `timm`, or a file.
        parameter: Name of the value in errors.

    Raises:
        RunError: There is no run, or it is damaged.
        ArgumentError: The value is a network, and no weights are named, a predictor without torch, or none of these.
    """
    if isinstance(value, OpenNetwork):
        return value
    if isinstance(value, RunPredictor):
        return OpenNetwork(value.path.resolve().name, value.in_torch, Run.open(value.path))
    if isinstance(value, Predictor):
        return OpenNetwork(value.network.name, value)
    if isinstance(value, BasePredictor):
        raise ArgumentError(
            "run", "explaining uses a network in torch: give the run instead of a file exported from it"
        )
    if not isinstance(value, Run | str | Path):
        raise ArgumentError(parameter, f"must be a run or its directory, or a predictor, not {value!r:.80}")
    if isinstance(value, Run) or Path(value).exists() or not is_network(str(value)):
        run = Run.of(value)
        return OpenNetwork(run.path.resolve().name, load(run, device), run)
    if weights is None:
        raise ArgumentError(
            "networks",
            f"{value} is a network, not a run directory; to use published weights, give weights 'pretrained'",
        )
    from convwright.prediction.pretrained import pretrained

    return OpenNetwork(str(value), pretrained(read_network(str(value)), weights, device))


def open_one(value: AnyNetwork, device: str = "auto") -> OpenNetwork:
    """Open a run or a predictor, as `open_network` does.

    Args:
        value: A run or its directory, or a predictor.
        device: Where the network computes.

    Raises:
        RunError: There is no run, or it is damaged.
        ArgumentError: The value is neither, or a predictor is on another device.
    """
    opened = open_network(value, device)
    check_used([value], [opened], device)
    return opened


def check_used(
    values: Sequence[AnyNetwork], opened: Sequence[OpenNetwork], device: str, weights: str | None = None
) -> None:
    """Check that weights and device have an effect.

    Args:
        values: What was opened.
        opened: The opened networks.
        device: The device that was requested.
        weights: The weights that were requested.

    Raises:
        ArgumentError: All networks have weights of their own, or a predictor is on another device.
    """
    own = [value for value, one in zip(values, opened, strict=True) if one.run or isinstance(value, Predictor)]
    if weights is not None and len(own) == len(opened):
        kind = "is a run, which has" if opened[0].run else "is a predictor, which has"
        raise ArgumentError("weights", f"{opened[0].name} {kind} weights of its own; they are for networks")
    for value, one in zip(values, opened, strict=True):
        placed = one.predictor.device
        if isinstance(value, BasePredictor | OpenNetwork) and device != "auto" and find_device(device) != placed:
            raise ArgumentError("device", f"{one.title} is on {placed} already; choose the device where it is loaded")


def open_networks(
    values: AnyNetwork | Sequence[AnyNetwork], device: str = "auto", weights: str | None = None
) -> tuple[OpenNetwork, ...]:
    """Open networks to compare; those of the same name are numbered in their titles.

    Args:
        values: One network or several; see `open_network`.
        device: Where the networks compute.
        weights: Published weights for networks that are no runs.

    Raises:
        RunError: There is no run, or it is damaged.
        ArgumentError: There is no network, a value is none, or `weights` or `device` has no effect.
    """
    several = [values] if isinstance(values, str) or not isinstance(values, Sequence) else list(values)
    if not several:
        raise ArgumentError("networks", "give a run directory, or a network with weights")
    opened = [open_network(value, device, weights, "networks") for value in several]
    check_used(several, opened, device, weights)
    titles = [one.title for one in opened]
    return tuple(
        replace(one, title=f"{one.title} ({titles[: place + 1].count(one.title)})")
        if titles.count(one.title) > 1
        else one
        for place, one in enumerate(opened)
    )

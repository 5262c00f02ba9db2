"""Ablation: the three papers' ideas, each compared with its absence on one data set at an equal budget.

A network without the idea and one with it are trained with the same seeds, and measured on the same images. Networks
of a comparison have equal multiply-adds or equal parameters, as far as whole blocks and channels allow.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from convwright import json_text
from convwright.arch import Network, recalibrate
from convwright.arch.cost import cost
from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.designing.families import BALANCED, FAMILIES, SMALL_DENSENET, fill_budget
from convwright.designing.speed import seconds_per_image
from convwright.display.progress import print_progress
from convwright.errors import ArgumentError, ConvwrightError, NetworkError, RunError, argument
from convwright.files import write_text
from convwright.scaling.budget import Budget
from convwright.scaling.experiment import Experiment, StudyCandidate
from convwright.scaling.halving import Schedule, Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.plan import scale_to_budget
from convwright.scaling.preparation import StudyOptions, TrainingOptions, check_trainable, fit_to_data
from convwright.scaling.rules import Compound, Rule, Shares
from convwright.scaling.study import run_study

BASE = "base"
SHRUNK_SHARE = 0.5
"""Share of the base's multiply-adds that the network has which is then scaled up in four ways."""
TRAINING_SHARE = 0.85
"""Share of the time that is planned for training steps; validations and opening data take the rest."""
MIN_EPOCHS, MAX_EPOCHS = 0.05, 200.0
PLAN, RESULT = "plan.json", "ablation.json"
"""Files of an ablation's folder: what it trains, and what it found."""
SCALINGS: tuple[tuple[str, Rule], ...] = (
    ("compound scaling", Compound()),
    ("depth alone", Shares("depth alone", 1.0, 0.0, 0.0)),
    ("width alone", Shares("width alone", 0.0, 1.0, 0.0)),
    ("resolution alone", Shares("resolution alone", 0.0, 0.0, 1.0)),
)


@dataclass(frozen=True)
class Variant:
    """A network of an ablation."""

    name: str
    network: Network


@dataclass(frozen=True)
class Idea:
    """A comparison of two variants."""

    name: str
    paper: str
    with_it: str
    """Name of the variant that has the idea."""
    without: str
    """Name of the variant that it is compared with."""
    equal: str
    """What is equal in both."""


SE_IDEAS = (
    Idea("SE, ratio 16", "SENet", "SE, ratio 16", BASE, "the blocks"),
    Idea("SE, ratio 4", "SENet", "SE, ratio 4", BASE, "the blocks"),
    Idea("SE before the block", "SENet", "SE before the block", BASE, "the blocks"),
)
DENSE_IDEA = Idea("Dense connections", "DenseNet", "DenseNet-BC", BASE, "no more parameters and multiply-adds")
SCALING_IDEAS = tuple(
    Idea(
        f"Compound scaling compared with {name}-only scaling",
        "EfficientNet",
        SCALINGS[0][0],
        f"{name} alone",
        "the MACs",
    )
    for name in ("depth", "width", "resolution")
)


@dataclass(frozen=True)
class Ablation:
    """Variants of a network and the comparisons between them."""

    variants: tuple[Variant, ...]
    ideas: tuple[Idea, ...]
    left_out: tuple[str, ...]
    """Sentences on variants that could not be created."""

    @classmethod
    def of(cls, base: Network, budget: Budget | None) -> "Ablation":
        """Return the variants of a base network that was fitted to the data.

        Args:
            base: The network.
            budget: Limits for every variant; None: the multiply-adds of the base.

        Raises:
            ArgumentError: The base cannot be scaled to the budget.
        """
        limits = budget or Budget({"macs": float(cost(base).macs)})
        if budget is not None:
            base = fill_budget(scale_to_budget(base, limits, BALANCED), limits).network
        base = _without_se(base)
        variants: list[Variant] = [Variant(BASE, base)]
        left_out: list[str] = []
        for made in (*_with_se(base), *_with_dense_connections(base, limits), *_with_scalings(base, limits)):
            if isinstance(made, str):
                left_out.append(made)
            else:
                variants.append(made)
        networks = {each.name: each.network for each in variants}
        ideas = []
        for idea in (*SE_IDEAS, DENSE_IDEA, *SCALING_IDEAS):
            if not {idea.with_it, idea.without} <= networks.keys():
                continue
            if networks[idea.with_it] == networks[idea.without]:
                left_out.append(f"{idea.name}: equal networks with and without it, since {base.name} is too small")
            else:
                ideas.append(idea)
        compared = {BASE}.union(*({idea.with_it, idea.without} for idea in ideas))
        return cls(tuple(each for each in variants if each.name in compared), tuple(ideas), tuple(left_out))


def _without_se(base: Network) -> Network:
    try:
        return recalibrate(base, None)
    except NetworkError:
        return base


def _with_se(base: Network) -> Iterator[Variant | str]:
    for name, ratio, placement in (
        ("SE, ratio 16", 16, None),
        ("SE, ratio 4", 4, None),
        ("SE before the block", 16, "pre"),
    ):
        try:
            yield Variant(name, recalibrate(base, ratio, placement=placement))
        except NetworkError as error:
            yield f"{name}: {error}"


def _with_dense_connections(base: Network, limits: Budget) -> Iterator[Variant | str]:
    from convwright.arch import at, fit_resolution
    from convwright.arch.expression import network

    params = float(cost(base).params)
    allowed = Budget({**limits.counted, "params": min(params, limits.counted.get("params", params))})
    dense = fit_resolution(network(SMALL_DENSENET), base.resolution, FAMILIES[0].least)
    dense = at(dense, channels=base.channels, classes=base.classes)
    try:
        yield Variant("DenseNet-BC", fill_budget(scale_to_budget(dense, allowed, BALANCED), allowed).network)
    except (ArgumentError, NetworkError) as error:
        yield f"DenseNet-BC: {getattr(error, 'reason', error)}"


def _with_scalings(base: Network, limits: Budget) -> Iterator[Variant | str]:
    macs = float(cost(base).macs)
    target = Budget({**limits.counted, "macs": macs})
    try:
        start = scale_to_budget(base, Budget({"macs": SHRUNK_SHARE * macs}), Compound()).network
    except (ArgumentError, NetworkError) as error:
        yield f"compound scaling: {getattr(error, 'reason', error)}"
        return
    for name, rule in SCALINGS:
        try:
            yield Variant(name, scale_to_budget(start, target, rule).network)
        except (ArgumentError, NetworkError) as error:
            yield f"{name}: {getattr(error, 'reason', error)}"


@dataclass(frozen=True)
class Length:
    """Length of the training runs of an ablation."""

    seconds: float
    """Time of all training runs, from which their epochs follow by the speed of this machine."""
    epochs: float | None = None
    """Epochs of each training run; None: as many as the time allows."""


def epochs_for(ablation: Ablation, seconds: float, images: int, seeds: int) -> float:
    """Return the epochs of each training run for which a time suffices, by the speed of this machine.

    Args:
        ablation: The variants.
        seconds: Time of all training runs.
        images: Number of training images.
        seeds: Training runs of each variant.
    """
    each = sum(seconds_per_image(variant.network) for variant in ablation.variants)
    epochs = TRAINING_SHARE * seconds / (seeds * images * each)
    return float(f"{min(MAX_EPOCHS, max(MIN_EPOCHS, epochs)):.2g}")


def run_ablation(
    base: Network,
    data: Data,
    budget: Budget | None,
    length: Length,
    seeds: int,
    training: TrainingOptions,
    options: StudyOptions,
) -> tuple[Ablation, Experiment, dict[Task, Outcome]]:
    """Train the variants of a network, or those that remain of an ablation that was stopped.

    Args:
        base: The network.
        data: The images.
        budget: Limits for every variant; None: the multiply-adds of the base.
        length: How long the variants are trained.
        seeds: Training runs of each variant, with the same seeds for all.
        training: How variants are trained.
        options: Folder, workers and database.

    Raises:
        ArgumentError: A value cannot be used, or the folder has an ablation of another time.
        StudyError: The folder or database has another study of this name.
        Interrupted: The ablation was stopped; an equal call continues it.
    """
    options.check()
    with argument("data"):
        dataset = data.dataset(largest=base.resolution)
    ablation = Ablation.of(fit_to_data(base, dataset), budget)
    if not ablation.ideas:
        reasons = "; ".join(ablation.left_out)
        raise ArgumentError("network", f"no idea can be compared on {base.name} ({reasons}); give a larger network")
    stored = length.epochs or _planned_epochs(options.out, length.seconds)
    if stored is None:
        print_progress("measuring how fast this machine trains each variant ...")
    epochs = stored or epochs_for(ablation, length.seconds, len(dataset.train), seeds)
    experiment = _make_experiment(ablation, data, dataset, epochs, seeds, training)
    check_trainable(experiment, dataset)
    if stored is None:
        _write_plan(options.out, epochs, length.seconds)
    return ablation, experiment, run_study(experiment, options)


def _make_experiment(
    ablation: Ablation, data: Data, dataset: Dataset, epochs: float, seeds: int, training: TrainingOptions
) -> Experiment:
    """Return the study that trains every variant with the same seeds for the same epochs."""
    base = ablation.variants[0].network
    candidates = tuple(
        StudyCandidate(each.name, each.network, {}, cost(each.network).macs) for each in ablation.variants
    )
    return Experiment(
        base,
        candidates,
        Schedule(len(candidates), epochs, rungs=1, seeds=seeds),
        data.spec,
        dataset.fingerprint,
        training.recipe,
        training.recipe_fields(base),
        training.config_fields(data),
        dataset.test is not None,
    )


def _planned_epochs(folder: Path, seconds: float) -> float | None:
    """Return the epochs that were planned for a stopped ablation: they must not depend on when it is continued.

    Args:
        folder: Folder of the ablation.
        seconds: Time of all training runs, which must be that of the plan.

    Raises:
        ArgumentError: The ablation was planned for another time.
        RunError: The plan is damaged.
    """
    path = folder / PLAN
    if not path.is_file():
        return None
    stored: Any = json_text.read(path)
    plan = stored if isinstance(stored, Mapping) else {}
    epochs, planned = plan.get("epochs"), plan.get("seconds", seconds)
    if not _is_number(epochs) or not _is_number(planned) or not 0 < epochs <= MAX_EPOCHS or planned <= 0:
        raise RunError(f"{path}: damaged file; start a new ablation in another folder")
    if not math.isclose(planned, seconds):
        raise ArgumentError(
            "minutes",
            f"must be {planned / 60:g} for the ablation in {folder}, which was planned for that time, not "
            f"{seconds / 60:g}; give another folder for another time",
        )
    return float(epochs)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write_plan(folder: Path, epochs: float, seconds: float) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvwrightError(f"{folder}: the folder could not be created: {error.strerror}") from None
    content = {"schema_version": 1, "epochs": epochs, "seconds": seconds}
    write_text(folder / PLAN, json_text.dump(content) + "\n")

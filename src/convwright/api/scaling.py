"""Compound scaling: networks planned for a budget, coefficients searched on data, and families trained."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from convwright.arch import Network, at
from convwright.arch.operators import LARGEST_FACTOR
from convwright.arch.operators import LARGEST_PHI as LARGEST_EXPONENT
from convwright.arch.resolution import SIZE, Resolution
from convwright.bounds import COUNT
from convwright.errors import ArgumentError, argument
from convwright.options import Bounds, checks_arguments
from convwright.places import check_file
from convwright.scaling.family import LARGEST_PHI
from convwright.scaling.grid import LARGEST_TARGET
from convwright.scaling.halving import LEAST_KEPT, MOST_CANDIDATES, MOST_EPOCHS, MOST_RUNGS, MOST_SEEDS
from convwright.scaling.network_family import Family
from convwright.scaling.plan_request import LatencyOptions, PlanRequest
from convwright.scaling.plan_result import ScalingPlan
from convwright.scaling.rules import Compound
from convwright.scaling.search_file import SearchOutcome
from convwright.scaling.study_options import (
    BatchSize,
    Cluster,
    CoresPerTask,
    Fields,
    Precision,
    Recipe,
    Storage,
    StudyName,
    Workers,
)
from convwright.scaling.study_result import SearchResult
from convwright.zoo.reading import read_network

if TYPE_CHECKING:
    from convwright.data.opened import Data

__all__ = ["family", "plan", "search"]

Factor = Annotated[float | None, Bounds(gt=0, le=LARGEST_FACTOR)]
Base = Annotated[float | None, Bounds(ge=1, le=LARGEST_FACTOR)]


@checks_arguments
def plan(
    base: "Network | str | Path",
    budget: Mapping[str, float] | str | None = None,
    *,
    phi: Annotated[float | None, Bounds(ge=-LARGEST_EXPONENT, le=LARGEST_EXPONENT)] = None,
    depth: Factor = None,
    width: Factor = None,
    resolution: Factor = None,
    alpha: Base = None,
    beta: Base = None,
    gamma: Base = None,
    classes: Annotated[int | None, COUNT] = None,
    data: "Data | str | Path | None" = None,
    compare: bool = True,
    batch: Annotated[int, COUNT] = 1,
    threads: Annotated[int | None, COUNT] = None,
    engine: Literal["torch", "onnxruntime", "openvino"] = "torch",
    remeasure: bool = False,
    out: Path | str | None = None,
) -> ScalingPlan:
    """Find the largest network within a budget, without training.

    The result shows which limit binds, what rounding changed, and what the same budget gives when it is spent on one
    dimension alone or by fast compound scaling (Dollár et al. 2021).

    Args:
        base: The network to scale, such as efficientnet_b0, or the file of one.
        budget: Limits such as 'macs<=50M, params<=1M, memory<=40MB, latency<=3ms'; any of them. In Python also a
            dictionary of numbers with the keys macs, params, activations, memory (in bytes) and latency_ms, such as
            {"macs": 50e6, "latency_ms": 3}.
        phi: Compound coefficient, instead of a budget.
        depth: Factor of depth, instead of a budget.
        width: Factor of width.
        resolution: Factor of resolution.
        alpha: Depth is multiplied by alpha^phi; 1.2 by default, as published.
        beta: Width is multiplied by beta^phi; 1.1 by default.
        gamma: Resolution is multiplied by gamma^phi; 1.15 by default.
        classes: Number of classes of the network; those of the base by default.
        data: Images that the network is for, whose number of classes it gets; a folder, a list or a built-in data set.
        compare: Spend the same budget on each dimension alone, and by the other published rule too.
        batch: Images in a batch where latency is measured.
        threads: Threads where latency is measured; the engine's own choice by default.
        engine: What runs the network where latency is measured.
        remeasure: Measure again what was measured before on this machine.
        out: File for the network as JSON, which `--network` reads.

    Returns:
        The scaled network with its cost, beside the alternatives.

    Raises:
        ArgumentError: The budget cannot be read or kept, or `out` cannot be written.
        UsageError: Not exactly one of budget, phi and factors is given.

    Example:
        >>> plan = cw.plan("efficientnet_b0", budget="macs<=150M, params<=3M", classes=12)
        >>> plan.cost.macs <= 150e6, plan.binding
        (True, ('macs',))
    """
    latency = LatencyOptions(batch, threads, engine, remeasure)
    request = PlanRequest.of(budget, phi, (depth, width, resolution), (alpha, beta, gamma), compare, latency)
    file = Path(out) if out is not None else None
    check_file("out", file)
    network = _network(base)
    count = _class_count(data, classes)
    result = request.plan(at(network, classes=count) if count is not None else network)
    if file is None:
        return result
    result.save(file)
    return replace(result, path=file)


@checks_arguments
def search(  # noqa: D417 - the options of every study are described in `study_options`
    base: "Network | str | Path",
    data: "Data | str | Path",
    *,
    resolution: Annotated[Resolution | None, SIZE] = None,
    step: Annotated[float, Bounds(ge=0.01, le=1)] = 0.1,
    target: Annotated[float, Bounds(gt=1, le=LARGEST_TARGET)] = 2.0,
    tolerance: Annotated[float, Bounds(gt=0, lt=1)] = 0.1,
    epochs: Annotated[float, Bounds(gt=0, le=MOST_EPOCHS)] = 3.0,
    rungs: Annotated[int, Bounds(ge=1, le=MOST_RUNGS)] = 3,
    keep: Annotated[float | None, Bounds(ge=LEAST_KEPT, le=MOST_CANDIDATES)] = None,
    seeds: Annotated[int, Bounds(ge=1, le=MOST_SEEDS)] = 2,
    recipe: Recipe = "fast",
    fields: Fields = (),
    batch_size: BatchSize = None,
    precision: Precision = None,
    workers: Workers = 1,
    cluster: Cluster = None,
    cores_per_task: CoresPerTask = 1,
    storage: Storage = None,
    study: StudyName = None,
    out: Path | str | None = None,
    dry_run: bool = False,
) -> SearchResult:
    """Find alpha, beta and gamma for a network on your data (EfficientNet, section 3.3, step 1).

    Every point of a grid whose network has about the target's multiply-adds is trained and ranked by its accuracy on
    the validation images. Interrupted or killed at any moment, the same call or command resumes the study. With the
    same PostgreSQL database as `storage`, several machines work on one study.

    The validation images of each training run are held out with the seed of that run, whatever the seed of `data` is,
    where the folder has no `val`.

    Args:
        base: The small network to scale, or the file of one.
        data: A folder with a sub-folder per class, or fashion-mnist, cifar10, cifar100 or digits.
        resolution: Height and width of the base's images in pixels; the data's own by default.
        step: Step of the grid over alpha, beta and gamma.
        target: Multiply-adds of a candidate over the base's.
        tolerance: Largest relative deviation of formula and network from the target; other points are dropped.
        epochs: Epochs of the longest training runs, those of the last rung.
        rungs: Rounds of successive halving; 1: train every candidate fully.
        keep: Factor between rungs: one in `keep` candidates is kept, and trains `keep` times as long; 3 by default.
        seeds: Training runs of each network, with the same seeds for all.
        out: Folder of the study; studies/search-BASE-DATA by default.
        dry_run: List the candidates, and train nothing.

    Returns:
        The ranking of the candidates; `best` has the coefficients of the best one. With `dry_run`, a list of the
        candidates.

    Raises:
        ArgumentError: A value cannot be used.
        StudyError: The folder or database has another study of this name.
        Interrupted: The study was stopped.

    Example:
        >>> print(cw.search("cifar_resnet20", "photos", resolution=32, dry_run=True))  # doctest: +ELLIPSIS
        cifar_resnet20...multiply-adds...
    """
    from convwright.data.opened import Data
    from convwright.scaling.grid import Grid
    from convwright.scaling.preparation import StudyOptions, TrainingOptions, folder_of
    from convwright.scaling.search import Halving, list_or_run

    images, grid, halving = Data.of(data), Grid(step, target, tolerance), Halving(epochs, rungs, keep, seeds)
    folder = folder_of("search", base, images, out)
    options = StudyOptions(folder, workers, cluster, cores_per_task, storage, study, cache_gb=images.cache_gb)
    training = TrainingOptions(recipe, fields, batch_size, precision)
    return list_or_run(_network(base), images, grid, halving, training, resolution, options, dry_run=dry_run)


@checks_arguments
def family(
    base: "Network | str | Path | None" = None,
    *,
    coefficients: Compound | None = None,
    phi: Annotated[int | range | Iterable[int], Bounds(ge=0, le=LARGEST_PHI)] = 3,
    alpha: Base = None,
    beta: Base = None,
    gamma: Base = None,
    search: "SearchResult | Path | str | None" = None,
    singles: bool = True,
    data: "Data | str | Path | None" = None,
    resolution: Annotated[Resolution | None, SIZE] = None,
) -> Family:
    """Scale a network by phi = 0, 1, 2, ..., beside networks of the same multiply-adds scaled in one dimension alone.

    Trained, the family gives EfficientNet's figures 3 and 8 on your own data.

    Args:
        base: The network to scale, or the file of one; by default that of `search`.
        coefficients: alpha, beta and gamma, such as `best` of a search.
        phi: Largest compound coefficient. In Python also several of them, such as range(4).
        alpha: Depth is multiplied by alpha^phi; 1.2 by default, as published.
        beta: Width is multiplied by beta^phi; 1.1 by default.
        gamma: Resolution is multiplied by gamma^phi; 1.15 by default.
        search: Folder of a search, which brings alpha, beta, gamma, base and data.
        singles: Include networks scaled by depth, width and resolution alone.
        data: A folder with a sub-folder per class, or fashion-mnist, cifar10, cifar100 or digits; the base is fitted
            to its images.
        resolution: Height and width of the base's images in pixels; the data's own by default.

    Returns:
        The networks, which can be iterated and trained.

    Raises:
        ArgumentError: A value cannot be used, `search` has no result, or neither base nor search is given.

    Example:
        >>> [member.network.resolution for member in cw.family("efficientnet_b0", phi=range(3), singles=False)]
        [224, 258, 296]
    """
    _check_kind("search", search, (SearchResult, Path, str), "the result or the folder of a search")
    _check_kind("coefficients", coefficients, (Compound,), "Compound(alpha, beta, gamma) or the best of a search")
    found = SearchOutcome.of(search) if search is not None else None
    if base is None and found is None:
        raise ArgumentError("base", "name the network to scale, or give a search")
    rule = _coefficients(coefficients, found, (alpha, beta, gamma))
    images = data if data is not None else (found.data if found else None)
    resolution = resolution or (found.resolution if found else None)
    network = _network(base if base is not None else found.base if found else "")
    if images is None:
        if resolution is not None:
            raise ArgumentError("resolution", "needs data, whose images the base is fitted to")
        return Family.of(network, rule, phi, singles=singles)
    from convwright.data.opened import Data

    return Family.of(network, rule, phi, singles=singles, data=Data.of(images), resolution=resolution)


def _network(base: "Network | str | Path") -> Network:
    with argument("base"):
        return base if isinstance(base, Network) else read_network(str(base))


def _class_count(data: "Data | str | Path | None", classes: int | None) -> int | None:
    """Return the number of classes of data, or the given one."""
    if data is None:
        return classes
    if classes is not None:
        raise ArgumentError("classes", "cannot be combined with `data`, which has a number of classes; omit one")
    from convwright.data.opened import Data

    with argument("data"):
        return len(Data.of(data).class_names)


def _check_kind(name: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    if value is not None and not isinstance(value, kinds):
        raise ArgumentError(name, f"must be {expected}, not {value!r:.80}")


def _coefficients(
    coefficients: Compound | None,
    found: SearchOutcome | None,
    given: tuple[float | None, float | None, float | None],
) -> Compound:
    if coefficients is not None:
        if found is not None or any(value is not None for value in given):
            raise ArgumentError("coefficients", "cannot be combined with alpha, beta, gamma or search")
        return coefficients
    default = found.coefficients if found else Compound()
    values = (default.alpha, default.beta, default.gamma)
    return Compound(*(other if value is None else value for value, other in zip(given, values, strict=True)))

"""Design: from a folder and a budget to a network, its file and a page about both."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from convwright.bounds import DURATION
from convwright.data.framing import Resize
from convwright.errors import ArgumentError, UsageError, argument, collected, together
from convwright.options import Bounds, checks_arguments
from convwright.scaling.halving import MOST_SEEDS
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
from convwright.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.data.opened import Data
    from convwright.designing.ablation_result import AblationResult
    from convwright.designing.result import DesignResult

__all__ = ["ablate", "design"]
DEFAULT_MINUTES = 30.0
MOST_EPOCHS = 200.0


@checks_arguments
def design(  # noqa: D417 - the options of every study are described in `study_options`
    data: "Data | str | Path | None" = None,
    budget: Mapping[str, float] | str | None = None,
    *,
    hours: Annotated[float | None, DURATION] = None,
    minutes: Annotated[float | None, DURATION] = None,
    out: Path | str | None = None,
    engine: Literal["torch", "onnxruntime", "openvino"] | None = None,
    resize: Resize | None = None,
    seed: Annotated[int, Bounds(ge=-LARGEST_SEED, le=LARGEST_SEED)] = 0,
    workers: Workers | None = None,
    cluster: Cluster = None,
    cores_per_task: CoresPerTask | None = None,
    storage: Storage = None,
    study: StudyName = None,
    resume: Path | str | None = None,
    progress: bool = True,
) -> "DesignResult":
    """Design a network for labelled images and a budget: choose, train, export and document it in a given time.

    Networks of the three papers' families are scaled to the largest within the budget, and race on validation
    images in rounds of growing length. Variations of the leader, with more depth, width or pixels, with or without
    SE, and trained in another way, join it. The winner is trained for the remaining time, exported, verified, and
    measured on test images that were not used for any choice. Stopped or killed at any moment, `resume` continues
    the design; from the first validation on, `best` in its folder is the run directory of the best network so far.

    Args:
        data: A folder with a sub-folder per class, a list of images, or the name of a source. Without test
            images, a tenth of it is set aside for the test.
        budget: Limits such as 'macs<=50M, params<=1M, memory<=40MB, latency<=3ms'; any of them. In Python also a
            dictionary of numbers with the keys macs, params, activations, memory (in bytes) and latency_ms.
        hours: Time of the whole design.
        minutes: Time of the whole design, instead of `hours`; 30 by default.
        out: Folder of the design; designs/DATA by default.
        engine: Engine that will serve the network, in which latency is measured; by default the first installed one
            of onnxruntime, openvino and torch.
        resize: How images of other proportions are resized: `crop` cuts the centre, `pad` adds grey borders, `squash`
            changes the proportions; as the data has it, or else `crop`.
        seed: Seed of all training runs.
        resume: Folder of a design to continue, which keeps its options; only workers, cluster and cores can be given. A
            finished design is shown again, without its images.
        progress: Whether to show how far the design has come.

    Returns:
        The winner's run, file and evaluation, all candidates and every decision; `dossier` is a page about them.

    Raises:
        ArgumentError: A value cannot be used, or no network is within the budget.
        DataError: The data cannot be opened, or has no test images.
        Interrupted: The design was stopped; it can be resumed.

    Example:
        >>> result = cw.design("digits", "macs<=2M", minutes=2, out="designs/digits")  # doctest: +SKIP
        >>> result.file.name, result.dossier.name  # doctest: +SKIP
        ('digits.onnx', 'dossier.html')
    """
    from convwright.data.opened import Data
    from convwright.designing.design import design as run_design
    from convwright.designing.design import problems_of, resume_design
    from convwright.designing.request import DesignRequest, RaceExecution
    from convwright.extras import installed
    from convwright.scaling.budget import as_budget

    given = {"data": data, "budget": budget, "hours": hours, "minutes": minutes, "out": out, "engine": engine}
    given |= {"resize": resize, "storage": storage, "study": study}
    execution = {"workers": workers, "cluster": cluster, "cores_per_task": cores_per_task}
    if resume is not None:
        if other := next((name for name, value in given.items() if value is not None), "seed" if seed else ""):
            subject = "the data " if other == "data" else ""  # the command line shows no name for this argument
            raise ArgumentError(
                other,
                f"{subject}cannot be combined with `resume`, as a resumed design keeps its options; to change them, "
                "start a new design in another folder",
            )
        return _with_methods(resume_design(Path(resume), execution=execution, progress=progress))
    if data is None:
        raise UsageError("give the data to design for, or `resume` with the folder of a design")
    how = RaceExecution(1 if workers is None else workers, cluster, cores_per_task or 1, storage, study)
    images = Data.of(data)
    folder = Path(out) if out is not None else Path("designs") / (Path(images.spec).stem or "data")
    wrong: list[UsageError] = []
    with collected(wrong):
        limits = None if budget is None else as_budget(budget)
    with collected(wrong):
        seconds = _seconds(hours, minutes)
    if wrong:
        raise together([*wrong, *problems_of(images, folder, how)])
    if resize is not None and images.resize != resize:
        images = replace(images, resize=resize)  # a copy opens the images again
    serving: str = engine or next((name for name in ("onnxruntime", "openvino") if installed(name)), "torch")
    request = DesignRequest(images, limits, seconds, folder, seed, serving, how)
    return _with_methods(run_design(request, progress=progress))


def _seconds(hours: float | None, minutes: float | None) -> float:
    """Return the time of a design.

    Raises:
        ArgumentError: Both are given, or the time is too short.
    """
    from convwright.designing.request import check_seconds

    if hours is not None and minutes is not None:
        raise ArgumentError("hours", "cannot be combined with `minutes`; give one of the two")
    seconds = 3600 * hours if hours is not None else 60 * (DEFAULT_MINUTES if minutes is None else minutes)
    check_seconds(seconds, "minutes" if hours is None else "hours")
    return seconds


def _with_methods(result: "DesignResult") -> "DesignResult":
    """Return the result with a run that has the operations on it as methods."""
    from convwright.api.runs import Run

    return replace(result, run=Run.from_stored(result.run))


@checks_arguments
def ablate(  # noqa: D417 - the options of every study are described in `study_options`
    data: "Data | str | Path",
    network: "Network | str | Path" = "cifar_resnet20",
    budget: Mapping[str, float] | str | None = None,
    *,
    minutes: Annotated[float | None, DURATION] = None,
    epochs: Annotated[float | None, Bounds(gt=0, le=MOST_EPOCHS)] = None,
    seeds: Annotated[int, Bounds(ge=2, le=MOST_SEEDS)] = 5,
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
) -> "AblationResult":
    """Measure which of the three papers' ideas helps on your data, by how much, and how certain that is.

    The network is compared with versions of it with SE (two ratios and another placement), and with a DenseNet-BC that
    has no more parameters and multiply-adds. Four more networks are compared with each other: a version with half the
    multiply-adds is scaled up by compound scaling, and in depth, width or resolution alone. All networks are trained
    with the same seeds for the same epochs, and measured on the test images, or on the validation images if there are
    none. If it is interrupted or killed, the same call or command continues it.

    Args:
        data: A folder with a sub-folder per class, a list of images, or the name of a source.
        network: The network, or the file of one; its own SE blocks are removed first.
        budget: Limits for every variant, such as 'macs<=50M'; by default the multiply-adds of the network.
        minutes: Time of all training runs together, 30 by default, from which their epochs follow.
        epochs: Epochs of each training run, such as 0.5, instead of `minutes`.
        seeds: Training runs of each variant.
        out: Folder of the ablation; studies/ablation-NETWORK-DATA by default.

    Returns:
        A sentence and an interval for each idea, and a table of the variants; `figure()` draws the effects.

    Raises:
        ArgumentError: A value cannot be used, or the network cannot be scaled to the budget.
        StudyError: The folder or database has another study of this name.
        Interrupted: The ablation was stopped.

    Example:
        >>> found = cw.ablate("photos", "cifar_resnet8", minutes=30)  # doctest: +SKIP
        >>> print(found.effects[0].sentence)  # doctest: +SKIP
    """
    from convwright import json_text
    from convwright.arch.expression import as_network
    from convwright.data.opened import Data
    from convwright.designing.ablation import RESULT, Length, run_ablation
    from convwright.designing.ablation_result import AblationResult
    from convwright.files import write_text
    from convwright.scaling.budget import as_budget
    from convwright.scaling.preparation import StudyOptions, TrainingOptions, folder_of

    images = Data.of(data)
    with argument("network"):
        base = as_network(network)
    limits = None if budget is None else as_budget(budget)
    if limits is not None and limits.latency is not None:
        raise ArgumentError("budget", "cannot limit the latency here; limit macs, params or memory")
    folder = folder_of("ablation", base, images, out)
    options = StudyOptions(folder, workers, cluster, cores_per_task, storage, study, cache_gb=images.cache_gb)
    training = TrainingOptions(recipe, fields, batch_size, precision)
    if minutes is not None and epochs is not None:
        raise ArgumentError("minutes", "cannot be combined with `epochs`; give one of the two")
    length = Length(60 * (DEFAULT_MINUTES if minutes is None else minutes), epochs)
    ablation, experiment, results = run_ablation(base, images, limits, length, seeds, training, options)
    found = AblationResult(ablation, experiment, results, folder / RESULT)
    write_text(found.path, json_text.dump(found.to_dict(), indent=1) + "\n")
    return found

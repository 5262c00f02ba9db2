"""Training: requests, plans and runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from convwright.bounds import COUNT, COUNT_OR_NONE, GIGABYTES
from convwright.errors import ArgumentError, argument
from convwright.options import Bounds, checks_arguments

if TYPE_CHECKING:
    from typing import Unpack

    from convwright.api.runs import Run
    from convwright.data.opened import Data
    from convwright.training.advice import Advice
    from convwright.training.augmented import AugmentedImages
    from convwright.training.cross_validation import CrossValidation
    from convwright.training.keywords import TrainOptions
    from convwright.training.request import TrainRequest
    from convwright.training.run import Run as StoredRun
    from convwright.training.run_plan import Plan


def advise(request: "TrainRequest | Data | str | Path | None" = None, **options: "Unpack[TrainOptions]") -> "Advice":
    """Choose network, resolution, weights and recipe for a data set, as `train` does where it is not given them.

    The choice depends on number, size and colours of the images, on the time (`minutes`) and on what is installed.

    Args:
        request: The request; or the data, with the other fields of the request in `options`.
        options: Fields of `TrainRequest`, which are kept; the others are chosen to suit them.

    Raises:
        DataError: There is no such data, or none of its images can be read.
        UsageError: A field has a value that it cannot have.

    Example:
        >>> advice = cw.advise("digits")
        >>> advice.network, advice.resolution, advice.weights, advice.recipe
        ('cifar_seresnet14', 8, None, 'fast')
    """
    made = _request(request, None, options)  # before torch is imported
    from convwright.training.advice import advise as choose

    with argument("data"):
        return choose(made)


def prepare(
    request: "TrainRequest | Data | str | Path | None" = None,
    *,
    config: str | Path | None = None,
    progress: bool = True,
    **options: "Unpack[TrainOptions]",
) -> "Plan":
    """Resolve a request to train: data, network, batch size, learning rate, epochs, device and operators.

    Args:
        request: The request; or the data, with the other fields of the request in `options`.
        config: File of a request or the `config.yaml` of a run; `options` override its values.
        progress: Whether to show how far the work has come.
        options: Fields of `TrainRequest`.

    Returns:
        The plan. `cw.train` carries it out.

    Raises:
        UsageError: A field has a value that it cannot have, or the data cannot be opened.

    Example:
        >>> plan = cw.prepare("digits", network="cifar_resnet8", epochs=1, out="runs/digits", progress=False)
        >>> plan.config.batch_size
        32
    """
    wanted = _request(request, config, options)  # before torch is imported
    from convwright.training.prepare import prepare as resolve

    return resolve(wanted, progress=progress)


def train(
    request: "TrainRequest | Plan | Data | str | Path | None" = None,
    *,
    config: str | Path | None = None,
    callbacks: Sequence[object] = (),
    progress: bool = True,
    **options: "Unpack[TrainOptions]",
) -> "Run":
    """Train a network on images; the best weights by validation accuracy are kept in the run directory.

    Args:
        request: A request, a plan, or the data, with the other fields of the request in `options`.
        config: File of a request or the `config.yaml` of a run; `options` override its values.
        callbacks: Objects with methods of `cw.callbacks.Callback`, called during training.
        progress: Whether to show how far training has come: a bar on a terminal, a table in a notebook.
        options: Fields of `TrainRequest`.

    Returns:
        The finished run.

    Raises:
        UsageError: A field has a value that it cannot have, or the data cannot be opened.
        ConvwrightError: Training failed; the message says what would help.

    Example:
        >>> run = cw.train("digits", network="cifar_resnet8", epochs=0.2, out="runs/digits", progress=False)
        >>> run.summary.steps
        8
    """
    wanted = _plan_or_request(request, config, options)  # before torch is imported
    from convwright.api.runs import Run
    from convwright.training.callbacks import Callbacks
    from convwright.training.prepare import prepare as resolve
    from convwright.training.run_plan import Plan
    from convwright.training.start import train_plan

    Callbacks(callbacks)  # wrong ones are reported before any work is done
    plan = wanted if isinstance(wanted, Plan) else resolve(wanted, progress=progress)
    return Run.from_stored(train_plan(plan, callbacks, progress=progress))


@checks_arguments
def augmented(
    request: "TrainRequest | Plan | Data | str | Path | None" = None,
    *,
    count: Annotated[int, Bounds(ge=1, le=1000)] = 8,
    versions: Annotated[int, Bounds(ge=1, le=100)] = 5,
    config: str | Path | None = None,
    **options: "Unpack[TrainOptions]",
) -> "AugmentedImages":
    """Show training images beside what the network will see of them.

    Args:
        request: A request, a plan, or the data, with the other fields of the request in `options`.
        count: Number of images.
        versions: Number of versions of each image, as many as steps of training.
        config: File of a request or the `config.yaml` of a run; `options` override its values.
        options: Fields of `TrainRequest`.

    Returns:
        The images, with their labels where images are mixed. Notebooks show them; `save_html` writes a page.

    Raises:
        UsageError: A field has a value that it cannot have, or the data cannot be opened.

    Example:
        >>> shown = cw.augmented("digits", crop=1, rotation=15, mixup=0.2, count=2)
        >>> shown.augmentation
        {'crop': 1, 'mixup': 0.2, 'rotation': 15.0}
        >>> shown.images[0].versions.shape
        torch.Size([5, 1, 8, 8])
    """
    wanted = _plan_or_request(request, config, options)  # before torch is imported
    from convwright.training.augmented import augmented_images
    from convwright.training.run_plan import Plan

    if isinstance(wanted, Plan):
        plan = wanted
    else:  # no operators are compiled and timed: nothing is trained
        plan = prepare(wanted if "fused" in wanted.given() else wanted.changed(fused=False), progress=False)
    return augmented_images(plan, count=count, versions=versions)


@checks_arguments
def resume(
    run: "StoredRun | str | Path",
    *,
    callbacks: Sequence[object] = (),
    workers: Annotated[int, COUNT_OR_NONE] = 0,
    checkpoint_every: Annotated[float, Bounds(ge=0, le=1e6)] = 5.0,
    cache_gb: Annotated[float | None, GIGABYTES] = None,
    tensorboard: bool = False,
    mlflow: str | None = None,
    cluster: str | None = None,
    cores_per_task: Annotated[int | None, COUNT] = None,
    progress: bool = True,
) -> "Run":
    """Continue a run from its last checkpoint. It ends in the same weights as if it had never stopped.

    Args:
        run: The run, or its directory.
        callbacks: Objects with methods of `cw.callbacks.Callback`.
        workers: Threads that prefetch batches, or processes that decode images during training; 0: none, or one for
            each core.
        checkpoint_every: Minutes between checkpoints.
        cache_gb: Most gigabytes that decoded images may take on disk.
        tensorboard: Whether to write event files to the run directory's folder `tensorboard`.
        mlflow: An MLflow tracking store to log to.
        cluster: Train on this Ray cluster instead: an address, `auto`, or `local`.
        cores_per_task: Processor cores of each process on a cluster; 1.
        progress: Whether to show how far training has come.

    Returns:
        The finished run; one that has ended before is returned as it is.

    Raises:
        RunError: There is no run, its files are damaged or changed, or another process is training it.

    Example:
        >>> cw.resume("runs/digits", progress=False).finished
        True
    """
    from convwright.api.runs import Run
    from convwright.training.callbacks import Callbacks
    from convwright.training.run import Run as StoredRun
    from convwright.training.start import Execution, resume_run

    Callbacks(callbacks)
    if cores_per_task is not None and cluster is None:
        raise ArgumentError("cores_per_task", "needs `cluster`; without one, a single process uses all cores")
    execution = Execution(workers, checkpoint_every, cache_gb, tensorboard, mlflow, cluster, cores_per_task or 1)
    return Run.from_stored(resume_run(StoredRun.of(run), callbacks, execution, progress=progress))


def open_run(path: "StoredRun | str | Path") -> "Run":
    """Open a run directory.

    Args:
        path: The directory.

    Returns:
        The run: its configuration, network, metrics, summary and weights, with everything that can be done with it.

    Raises:
        RunError: There is no run, or a file of it is damaged; the message names it.

    Example:
        >>> cw.open_run("runs/digits").classes[:3]
        ('0', '1', '2')
    """
    from convwright.api.runs import Run
    from convwright.training.run import Run as StoredRun

    return Run.from_stored(StoredRun.of(path))


def _plan_or_request(
    request: "TrainRequest | Plan | Data | str | Path | None", config: str | Path | None, options: Mapping[str, Any]
) -> "TrainRequest | Plan":
    """Return a plan as it is, and the request that other arguments make."""
    import sys

    module = sys.modules.get("convwright.training.run_plan")  # without it there is no plan
    if module is None or not isinstance(request, module.Plan):
        return _request(request, config, options)  # type: ignore[arg-type]
    if options or config is not None:
        raise ArgumentError(next(iter(options), "config"), "is part of the plan already; give it to prepare")
    plan: Plan = request
    return plan


def _request(
    request: "TrainRequest | Data | str | Path | None", config: str | Path | None, options: Mapping[str, Any]
) -> "TrainRequest":
    """Return the request that the arguments of `prepare` make."""
    from convwright.training.request import TrainRequest

    if isinstance(request, TrainRequest):
        if config is not None:
            raise ArgumentError("config", "cannot be combined with a request; use TrainRequest.from_yaml")
        return request.changed(**options) if options else request
    if request is not None and "data" in options:
        raise ArgumentError("data", "is given twice; the first argument is the data")
    if hasattr(request, "__getitem__") and not isinstance(request, str | Mapping):  # a data set of torch
        from convwright.data.opened import Data

        request = Data.of(request)
    data = {} if request is None else {"data": request}
    if config is None:
        return TrainRequest(**data, **options)
    with argument("config"):
        return TrainRequest.from_yaml(config, **data, **options)


def cross_validate(
    request: "TrainRequest | Data | str | Path | None" = None,
    *,
    config: str | Path | None = None,
    callbacks: Sequence[object] = (),
    progress: bool = True,
    **options: "Unpack[TrainOptions]",
) -> "CrossValidation":
    """Train a network once for each of several folds of the images, which validates it, and average the results.

    Training and validation images are split into `folds` folds of equal size, stratified by class, with each group of
    images in one fold; test images are left out. Each run is trained on all folds but one, in a folder of its own
    below `out`. Called again, it keeps the runs that have finished and resumes the one that has not; without `out`, in
    runs/NETWORK-DATA-folds.

    Args:
        request: A request, or the data, with the other fields of the request in `options`; `folds` is required.
            `epochs` are those of each run; `minutes` are those of all runs together.
        config: File of a request or the `config.yaml` of a run; `options` override its values.
        callbacks: Objects with methods of `cw.callbacks.Callback`, called during each run.
        progress: Whether to show how far training has come.
        options: Fields of `TrainRequest`.

    Returns:
        The runs, the mean of their accuracies, and its 95 % interval, which allows for the training images that runs
        share (Nadeau and Bengio 2003).

    Raises:
        UsageError: A field has a value that it cannot have, or the data cannot be opened.
        ConvwrightError: A run failed; the message says what would help.

    Example:
        >>> found = cw.cross_validate(
        ...     "digits", folds=2, network="cifar_resnet8", epochs=0.2, out="runs/folds", progress=False
        ... )
        >>> [run.data.images["val"] for run in found.runs]
        [719, 719]
    """
    wanted = _request(request, config, options)  # before torch is imported
    from convwright.api.runs import Run
    from convwright.training.callbacks import Callbacks
    from convwright.training.cross_validation import cross_validate_request

    Callbacks(callbacks)
    return cross_validate_request(wanted, callbacks, progress=progress, as_run=Run.from_stored)

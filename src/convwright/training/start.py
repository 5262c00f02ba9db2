"""Plans carried out and runs resumed, in this process or in one process for each device."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import reduce

from convwright.arch import Network
from convwright.arch.network import with_operation
from convwright.data.collections import absolute_path
from convwright.data.opened import Data
from convwright.display.progress import print_progress
from convwright.errors import ArgumentError, SubprocessError
from convwright.printable import printable
from convwright.training.callbacks import Callback, MLflow, TensorBoard
from convwright.training.cluster import TrainingCluster
from convwright.training.cluster_training import train_on_cluster
from convwright.training.config import OWN_NETWORK, TrainConfig
from convwright.training.devices import check_devices, world_size
from convwright.training.initial_weights import initial_weights_file
from convwright.training.interrupt import STOPPING, Interrupted
from convwright.training.launch import launch
from convwright.training.loop import resume, train
from convwright.training.operators import compile_fused
from convwright.training.progress import Runtime
from convwright.training.progress_bar import progress_callback
from convwright.training.records import DataFacts
from convwright.training.request import TrainRequest
from convwright.training.run import Run
from convwright.training.run_data import open_run_data
from convwright.training.run_plan import Plan, described
from convwright.training.teacher import teacher_file
from convwright.training.training_images import training_images_file

PLANNED = frozenset({"fit", "resolution", "channels", "classes", "dropout", "stochastic_depth"})
"""Operators that planning appends to the network of a request."""
ONLY_AT_START = ("minutes", "out", "recipe", "find_lr")
"""Fields of a request that a resumed run cannot take any more."""


@dataclass(frozen=True)
class Execution:
    """Execution settings that do not affect the result of a run."""

    workers: int = 0
    """Threads that prefetch batches, or processes that decode images during training; 0: none, or one for each core."""
    checkpoint_every: float = 5.0
    """Minutes between checkpoints."""
    cache_gb: float | None = None
    """Most gigabytes that decoded images may take on disk; None: the usual limit."""
    tensorboard: bool = False
    """Whether to write event files to the run directory's folder `tensorboard`."""
    mlflow: str | None = None
    """An MLflow tracking store to log to, or None."""
    cluster: str | None = None
    """Address of the Ray cluster whose nodes train, or None."""
    cores_per_task: int = 1
    """Processor cores of each process on a cluster."""

    @classmethod
    def of(cls, request: TrainRequest) -> "Execution":
        """Return the execution options of a request."""
        return cls(**{each.name: getattr(request, each.name) for each in fields(cls)})

    @property
    def runtime(self) -> Runtime:
        """What the training loop takes of it."""
        return Runtime(self.workers, 60 * self.checkpoint_every)

    def callbacks(self, given: Sequence[object], *, progress: bool) -> list[object]:
        """Return all callbacks of the run, in the order in which they are called.

        Raises:
            UsageError: A tracking package is missing.
        """
        trackers: list[Callback] = [TensorBoard()] if self.tensorboard else []
        trackers += [] if self.mlflow is None else [MLflow(self.mlflow)]
        return [*([progress_callback()] if progress else []), *trackers, *given]

    def elsewhere(self, config: TrainConfig) -> bool:
        """Whether other processes than this one train a run of a configuration."""
        return self.cluster is not None or config.devices > world_size()

    def arguments(self) -> list[str]:
        """Return the command-line options of `convwright train` for these settings, but for those of a cluster."""
        options = ["--workers", str(self.workers), "--checkpoint-every", str(self.checkpoint_every)]
        options += [] if self.cache_gb is None else ["--cache-gb", str(self.cache_gb)]
        options += ["--tensorboard"] if self.tensorboard else []
        return options + ([] if self.mlflow is None else ["--mlflow", self.mlflow])


def train_plan(plan: Plan, callbacks: Sequence[object] = (), *, progress: bool = True) -> Run:
    """Train a plan's network into its run directory.

    Args:
        plan: The plan.
        callbacks: Objects with methods of `Callback`.
        progress: Whether to show how far training has come.

    Returns:
        The finished run.

    Raises:
        ArgumentError: Callbacks are given for a run on several devices, whose processes they cannot reach.
        ConvwrightError: The run failed; the message says what would help.
        Interrupted: The run was stopped; it can be resumed.
    """
    execution = Execution.of(plan.request)
    elsewhere = execution.elsewhere(plan.config)
    if elsewhere:
        _check_processes(plan.config, plan.network, callbacks, execution)
        if Data.of(plan.request.data).held is not None:
            raise ArgumentError("data", "is in memory, and other processes cannot read it; give files")
    every = [] if elsewhere else execution.callbacks(callbacks, progress=progress)  # before any work is done
    if progress:
        print_progress(described(plan.data, plan.network, plan.config, plan.operators))
    if elsewhere:
        files = {**plan.files, **initial_weights_file(plan.initial), **teacher_file(plan.teacher)}
        files |= training_images_file(plan.data)
        with _cluster(plan.config, execution) as cluster:
            run = Run.create(plan.out, plan.config, plan.network, plan.data.classes, DataFacts.of(plan.data), files)
            _in_processes(run, execution, cluster, progress=progress)
    else:
        started = every, execution.runtime, plan.files, plan.initial, plan.teacher
        train(plan.config, plan.network, plan.data, plan.out, *started)
    return Run.open(plan.out)


def resume_run(
    run: Run, callbacks: Sequence[object] = (), execution: Execution = Execution(), *, progress: bool = True
) -> Run:
    """Continue a run from its last checkpoint; a finished run is returned as it is.

    Args:
        run: The run.
        callbacks: Objects with methods of `Callback`.
        execution: How the run is carried out.
        progress: Whether to show how far training has come.

    Raises:
        RunError: Data, configuration or network have changed, or another process is training the run.
        ConvwrightError: The run failed; the message says what would help.
        Interrupted: The run was stopped; it can be resumed again.
    """
    elsewhere = execution.elsewhere(run.config) and not run.finished
    if elsewhere:
        _check_processes(run.config, run.network, callbacks, execution)
    every = [] if elsewhere else execution.callbacks(callbacks, progress=progress)
    if run.finished:
        if progress:
            print_progress(f"{printable(run.path)} has already ended; nothing to do")
        return run
    if elsewhere:
        with _cluster(run.config, execution) as cluster:
            _in_processes(run, execution, cluster, progress=progress)
    else:
        if run.config.fused:
            compile_fused(run.config.precision)
        resume(run, open_run_data(run, cache_gb=execution.cache_gb, to_train=True), every, execution.runtime)
    return Run.open(run.path)


def _planned_from(given: str, planned: str) -> bool:
    """Return whether planning a run turned a network's name into another one by operations of `PLANNED` alone."""
    parts = planned.split("|")
    while len(parts) > 1 and parts[-1].partition(":")[0] in PLANNED:
        parts.pop()
    added = planned.split("|")[len(parts) :]
    return reduce(with_operation, added, given) == planned


def check_same(run: Run, given: Mapping[str, object]) -> None:
    """Check that fields of a request have the values that a run has.

    Args:
        run: A run that is to be resumed.
        given: Fields of `TrainRequest` by name.

    Raises:
        ArgumentError: A field differs, or has no meaning for a resumed run.
    """
    if other := [name for name in ONLY_AT_START if given.get(name) not in (None, False)]:
        raise ArgumentError(other[0], "cannot be combined with `resume`; a resumed run keeps its options")
    began = run.config.model_dump()
    began |= began.pop("recipe")
    for name, value in given.items():
        if name not in began or value is None:
            continue
        before = began[name]
        same = before == value
        if name == "network":
            before = run.network.name if before == OWN_NETWORK else before
            same = same or _planned_from(str(value), before)
        elif name in ("data", "weights", "teacher"):
            same = same or before == absolute_path(str(value))
        if not same:
            raise ArgumentError(name, f"is {before!r} in {run.path}, not {value!r}; a resumed run keeps its options")


def _check_processes(config: TrainConfig, network: Network, callbacks: Sequence[object], execution: Execution) -> None:
    """Check that a run can be trained in processes of their own, before anything is written."""
    if callbacks:
        where = "several devices" if execution.cluster is None else "a cluster"
        raise ArgumentError("callbacks", f"are called in one process; they cannot be used with {where}")
    if '"__main__.' in network.to_json_text():
        raise ArgumentError(
            "devices", "must be 1 for a network with blocks defined in __main__; define them in a module"
        )
    if execution.cluster is None:
        check_devices(config.devices)


@contextmanager
def _cluster(config: TrainConfig, execution: Execution) -> Iterator[TrainingCluster | None]:
    """Yield a connection to the cluster that trains a run; None where this machine does."""
    if execution.cluster is None:
        yield None
        return
    with TrainingCluster(execution.cluster, config.devices, execution.cores_per_task) as cluster:
        yield cluster


def _in_processes(run: Run, execution: Execution, cluster: TrainingCluster | None, *, progress: bool) -> None:
    """Train a run in as many processes as its configuration has devices, here or on a cluster.

    Raises:
        Interrupted: A signal stopped the processes.
        SubprocessError: The first process failed.
        ConvwrightError: The run failed on the cluster.
    """
    if cluster is not None:
        train_on_cluster(cluster, run, execution.arguments(), progress=progress)
        return
    arguments = ["train", "--resume", str(run.path), *execution.arguments()]
    if status := launch(run.config.devices, arguments, run.path, quiet=not progress):
        if status - 128 in STOPPING:
            stopped = Interrupted(f"interrupted; resume with `cw.resume({str(run.path)!r})`", status - 128)
            stopped.printed = progress
            raise stopped
        raise SubprocessError(f"{run.path}: training ended with exit status {status}", status)

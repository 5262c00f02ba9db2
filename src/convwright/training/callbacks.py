"""Callbacks: functions of the user's own that are called during training, and the ones that come with the library.

A callback is an object of any class with some of the methods of `Callback`. `cw.train(request, callbacks=[...])` calls
them in order, in the process and thread that trains; with several devices, in the first process alone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from convwright.errors import ArgumentError, warn
from convwright.extras import require_package
from convwright.files import write_text
from convwright.training.records import Summary
from convwright.training.run import Run

__all__ = ["Callback", "MLflow", "StartedRun", "Step", "StopTraining", "TensorBoard"]
HOOKS = ("on_start", "on_prepare", "on_step", "on_validation", "on_stop", "on_end")
MLFLOW_ID = "mlflow.txt"
"""The file of a run directory that names its MLflow run, so that a resumed run is logged to the same one."""


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raised by a callback to end a run: it is validated once more, and its best weights and summary are written."""


@dataclass(frozen=True)
class StartedRun(Run):
    """A run whose training starts, or is resumed."""

    first_step: int = 0
    """Number of steps that have been taken before; 0 for a new run."""
    steps: int = 0
    """Number of steps of the whole run."""


@dataclass(frozen=True)
class Step:
    """A training step that has been taken."""

    number: int
    """Number of steps taken so far, this one included."""
    steps: int
    """Number of steps of the whole run."""
    images: int
    """Images of the batch."""
    loss: float
    """Mean loss of the batch."""


class Callback:
    """Base class of callbacks with empty methods. Any object with at least one of these methods can be used.

    Example:
        >>> class StopBelow(cw.callbacks.Callback):
        ...     def on_step(self, step):
        ...         if step.loss < 0.05:
        ...             raise cw.StopTraining
    """

    def on_start(self, run: StartedRun) -> None:
        """Training is about to start, or to continue after `run.first_step` steps."""

    def on_prepare(self, done: int, total: int, what: str) -> None:
        """Work before the first step has come to `done` of `total`."""

    def on_step(self, step: Step) -> None:
        """A training step has been taken. May raise `StopTraining`."""

    def on_validation(self, row: Mapping[str, float]) -> None:
        """The network has been validated. `row` is the new line of metrics.csv. May raise `StopTraining`."""

    def on_stop(self) -> None:
        """The run stops before its end: it was interrupted, or it failed. It can be resumed."""

    def on_end(self, summary: Summary) -> None:
        """The run has ended, and its summary is written."""


class Callbacks:
    """Several callbacks, called one after the other.

    Args:
        callbacks: Objects with some of the methods of `Callback`.

    Raises:
        ArgumentError: An object has none of these methods, or one whose name begins with `on_` and is not one of them.
    """

    def __init__(self, callbacks: Iterable[object] = ()) -> None:
        if not isinstance(callbacks, Iterable):
            raise ArgumentError("callbacks", f"must be a list of callbacks, not {callbacks!r:.80}")
        self.callbacks = tuple(callbacks)
        for each in self.callbacks:
            if isinstance(each, type) or not any(callable(getattr(each, hook, None)) for hook in HOOKS):
                raise ArgumentError(
                    "callbacks",
                    f"{each!r:.80} is not a callback; it must be an object with {' or '.join(HOOKS[:1] + HOOKS[2:4])}",
                )
            unknown = [name for name in dir(each) if name.startswith("on_") and name not in HOOKS]
            if unknown:
                raise ArgumentError("callbacks", f"{unknown[0]} is never called; the methods are {', '.join(HOOKS)}")
        self.stop_requested = False
        """Whether a callback has raised `StopTraining`."""

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a method of all callbacks that have it.

        Args:
            hook: Name of the method.
            arguments: What it takes.
        """
        for each in self.callbacks:
            method = getattr(each, hook, None)
            if method is not None:
                try:
                    method(*arguments)
                except StopTraining:
                    self.stop_requested = True


class TensorBoard(Callback):
    """Write event files to the run directory's folder `tensorboard`.

    Raises:
        UsageError: The package tensorboard is missing.
    """

    def __init__(self) -> None:
        require_package("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._make: Callable[..., Any] = SummaryWriter
        self._writer: Any = None

    def on_start(self, run: StartedRun) -> None:
        """Open the folder; events after the step at which the run is resumed are dropped."""
        self._writer = self._make(
            str(run.path / "tensorboard"), purge_step=run.first_step + 1 if run.first_step else None
        )

    def on_step(self, step: Step) -> None:
        """Write the loss of a step."""
        self._writer.add_scalar("step/loss", step.loss, step.number)

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Write a line of the metrics."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(f"validation/{name}", value, int(row["step"]))
        self._writer.flush()

    def on_stop(self) -> None:
        """Close the file."""
        if self._writer:
            self._writer.close()

    def on_end(self, summary: Summary) -> None:
        """Close the file."""
        self._writer.close()


class MLflow(Callback):
    """Log a run to an MLflow tracking store. A store that fails gives one warning, and the run continues.

    Args:
        uri: The store, such as `http://...` or `sqlite:///mlflow.db`.

    Raises:
        UsageError: The package mlflow is missing.
    """

    def __init__(self, uri: str) -> None:
        require_package("mlflow", "mlflow")
        from mlflow import MlflowClient

        self._make: Callable[..., Any] = MlflowClient
        self.uri = uri
        self._client: Any = None
        self._id = ""

    def on_start(self, run: StartedRun) -> None:
        """Open the run's record, or a new one with the configuration as its parameters."""
        self._try(self._open, run)

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Log a line of the metrics."""
        self._try(self._log, row)

    def on_stop(self) -> None:
        """Mark the record as that of a run that was stopped; a resumed run opens it again."""
        if self._id:
            self._try(lambda: self._client.set_terminated(self._id, "KILLED"))

    def on_end(self, summary: Summary) -> None:
        """Close the record."""
        self._try(lambda: self._client.set_terminated(self._id))

    def _open(self, run: Run) -> None:
        self._client = self._make(self.uri)
        noted = run.path / MLFLOW_ID
        if noted.exists():
            self._id = noted.read_text(encoding="utf-8").strip()
            self._client.update_run(self._id, "RUNNING")
            return
        experiment = self._client.get_experiment_by_name("convwright")
        number = experiment.experiment_id if experiment else self._client.create_experiment("convwright")
        self._id = self._client.create_run(number, run_name=run.path.name).info.run_id
        for name, value in flat(run.config.model_dump(mode="json")).items():
            self._client.log_param(self._id, name, value)
        write_text(noted, self._id + "\n")

    def _log(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self._client.log_metric(self._id, name, value, step=int(row["step"]))

    def _try(self, action: Callable[..., None], *arguments: object) -> None:
        """Use the store; a run must not end because its log is out of reach."""
        if self.uri == "":
            return
        try:
            action(*arguments)
        except Exception as error:  # MLflow's stores raise their own and their databases' errors
            why = str(error).split("\n")[0]
            warn(f"MLflow at {self.uri} failed, and nothing more is logged to it: {why}")
            self.uri = ""


def flat(values: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Return nested values under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{within}{name}.") if isinstance(value, dict) else {f"{within}{name}": value}
    return found

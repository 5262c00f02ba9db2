"""Runs told to TensorBoard and MLflow, beside the CSV file that is always written."""

import warnings
from collections.abc import Sequence
from typing import Any

from convwright.errors import ConvwrightWarning
from convwright.extras import require_package
from convwright.files import write_text
from convwright.training.loop import Reporter
from convwright.training.run import Run

MLFLOW_ID = "mlflow.txt"
"""The file of a run directory that names its MLflow run, so that a resumed run goes on in it."""


class Reporters(Reporter):
    """Tells several."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self.reporters = tuple(reporters)

    def begin(self, run: Run, done: int, steps: int) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.begin(run, done, steps)

    def preparing(self, done: int, total: int, what: str) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.preparing(done, total, what)

    def step(self, step: int, images: int, loss: float) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.step(step, images, loss)

    def validated(self, row: dict[str, float]) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.validated(row)

    def stopped(self) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.stopped()

    def end(self, summary: dict[str, Any]) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.end(summary)


class TensorBoard(Reporter):
    """Writes event files to the run directory's folder `tensorboard`. UsageError if the package is missing."""

    def __init__(self) -> None:
        require_package("tensorboard", "--tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._make = SummaryWriter
        self._writer: Any = None

    def begin(self, run: Run, done: int, steps: int) -> None:
        """Open the folder; what lies beyond the step at which the run goes on is dropped."""
        self._writer = self._make(str(run.path / "tensorboard"), purge_step=done + 1 if done else None)

    def step(self, step: int, images: int, loss: float) -> None:
        """Write the loss of a step."""
        self._writer.add_scalar("step/loss", loss, step)

    def validated(self, row: dict[str, float]) -> None:
        """Write a line of the metrics."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(f"validation/{name}", value, int(row["step"]))
        self._writer.flush()

    def stopped(self) -> None:
        """Close the file."""
        if self._writer:
            self._writer.close()

    def end(self, summary: dict[str, Any]) -> None:
        """Close the file."""
        self._writer.close()


class MLflow(Reporter):
    """Logs to an MLflow tracking store. UsageError if the package is missing; a store that fails is told once."""

    def __init__(self, uri: str) -> None:
        require_package("mlflow", "--mlflow")
        from mlflow import MlflowClient

        self._make, self.uri = MlflowClient, uri
        self._client: Any = None
        self._id = ""

    def begin(self, run: Run, done: int, steps: int) -> None:
        """Open the run's record, or a new one with the configuration as its parameters."""
        self._try(self._open, run)

    def validated(self, row: dict[str, float]) -> None:
        """Log a line of the metrics."""
        self._try(self._log, row)

    def stopped(self) -> None:
        """Mark the record as that of a run that was stopped; going on with the run opens it again."""
        if self._id:
            self._try(lambda: self._client.set_terminated(self._id, "KILLED"))

    def end(self, summary: dict[str, Any]) -> None:
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

    def _log(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self._client.log_metric(self._id, name, value, step=int(row["step"]))

    def _try(self, action: Any, *arguments: Any) -> None:
        """Do something with the store; a run must not end because its log is out of reach."""
        if self.uri == "":
            return
        try:
            action(*arguments)
        except Exception as error:  # MLflow's stores raise their own and their databases' errors
            why = str(error).split("\n")[0]
            warnings.warn(
                f"MLflow at {self.uri} failed, and is not told any more: {why}", ConvwrightWarning, stacklevel=2
            )
            self.uri = ""


def flat(values: dict[str, Any], within: str = "") -> dict[str, Any]:
    """Return nested values under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{within}{name}.") if isinstance(value, dict) else {f"{within}{name}": value}
    return found

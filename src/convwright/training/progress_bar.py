"""The progress of a run on a terminal or in a notebook: a bar with speed and time left, a line for each validation."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from convwright.display.progress import Bars, described, print_progress
from convwright.display.result import STYLE, Table
from convwright.printable import printable
from convwright.training.callbacks import Callback, StartedRun, Step
from convwright.training.records import Summary, measure_of

REDRAWN_EVERY = 20
"""Steps between two updates in a notebook."""


class ImagesPerSecond(ProgressColumn):
    """Speed of training over the last seconds."""

    def render(self, task: Task) -> Text:
        """Show steps a second times the images of a step."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * task.fields.get('batch', 0):,.0f} images/s")


class TerminalProgress(Callback):
    """A bar on a terminal; where standard error is not a terminal, only the lines of the validations.

    Args:
        name: What is trained, for the lines; by default the network's name.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.bar = Bars(
            described(),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            ImagesPerSecond(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            speed_estimate_period=10,
        )
        self.before: TaskID | None = None
        self.task: TaskID | None = None

    def on_start(self, run: StartedRun) -> None:
        """Start the bar at the current step of the run."""
        self.name = self.name or run.network.name
        self.bar.start()
        self.task = self.bar.add_task(
            printable(self.name), completed=run.first_step, total=run.steps, loss=float("nan"), batch=0
        )

    def on_prepare(self, done: int, total: int, what: str) -> None:
        """Show how far the work before the first step has come."""
        if self.before is None:
            self.before = self.bar.add_task(printable(what), total=total, loss=float("nan"), batch=0)
        self.bar.update(self.before, completed=done, visible=done < total)

    def on_step(self, step: Step) -> None:
        """Advance by one step."""
        if self.task is not None:
            self.bar.update(self.task, completed=step.number, loss=step.loss, batch=step.images)

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Print the validation above the bar."""
        measure, value = measure_of(row)
        print_progress(
            f"{self.name}: epoch {row['epoch']:.4g}, step {row['step']:.0f}: "
            f"training loss {row['train_loss']:.4f}, validation loss {row['val_loss']:.4f}, "
            f"{measure} {value:.2%}, {row['images_per_second']:,.0f} images/s"
        )

    def on_stop(self) -> None:
        """Take the bar away."""
        self.bar.stop()

    def on_end(self, summary: Summary) -> None:
        """Take the bar away."""
        self.bar.stop()


class NotebookProgress(Callback):
    """A bar and a table of the validations below the cell of a notebook."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.name = ""
        self.rows: list[tuple[str, ...]] = []
        self.measure = "accuracy"
        self.state = (0, 1, float("nan"))

    def on_start(self, run: StartedRun) -> None:
        """Show the bar at the current step of the run."""
        self.name, self.state = run.network.name, (run.first_step, run.steps, float("nan"))
        shown = import_module("IPython.display")
        self.handle = shown.display(shown.HTML(self._html()), display_id=True)

    def on_step(self, step: Step) -> None:
        """Advance by one step."""
        self.state = (step.number, step.steps, step.loss)
        if step.number % REDRAWN_EVERY == 0:
            self._update()

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Add a row to the table."""
        self.measure, value = measure_of(row)
        numbers = f"{row['train_loss']:.4f}", f"{row['val_loss']:.4f}", f"{value:.2%}"
        self.rows.append((f"{row['epoch']:.4g}", *numbers, f"{row['images_per_second']:,.0f}"))
        self._update()

    def _update(self) -> None:
        if self.handle is not None:
            self.handle.update(import_module("IPython.display").HTML(self._html()))

    def _html(self) -> str:
        done, total, loss = self.state
        titles = ("epoch", "training loss", "validation loss", self.measure, "images/s")
        table = Table(titles, self.rows, left=0).to_html() if self.rows else ""
        bar = f'<progress value="{done}" max="{total}"></progress> {done:,} of {total:,} steps, loss {loss:.3f}'
        return f'{STYLE}<div class="convwright"><div>{bar}</div>{table}</div>'


def progress_callback(name: str = "") -> Callback:
    """Return the progress display for where this process runs.

    Args:
        name: What is trained; by default the network's name.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    notebook = "ZMQInteractiveShell" in [each.__name__ for each in type(shell).__mro__]
    return NotebookProgress() if notebook else TerminalProgress(name)

"""How a training run is shown on a terminal: a bar with speed and time left, one line a validation."""

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from convwright.display.progress import described, errors, say
from convwright.printable import printable
from convwright.training.loop import Reporter
from convwright.training.run import Run


class ImagesPerSecond(ProgressColumn):
    """Speed of training over the last seconds."""

    def render(self, task: Task) -> Text:
        """Show steps a second times the images of a step."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * task.fields.get('batch', 0):,.0f} images/s")


class TrainingBar(Reporter):
    """Shows a run's progress; on anything but a terminal only its validations."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar = Progress(
            described(),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            ImagesPerSecond(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
            speed_estimate_period=10,
        )
        self.before: TaskID | None = None
        self.task = self.bar.add_task(printable(name), total=None, loss=float("nan"), batch=0)

    def begin(self, run: Run, done: int, steps: int) -> None:
        """Start the bar where the run stands."""
        self.bar.start()
        self.bar.update(self.task, completed=done, total=steps)

    def preparing(self, done: int, total: int, what: str) -> None:
        """Show how far the work before the first step has come."""
        if self.before is None:
            self.before = self.bar.add_task(printable(what), total=total, loss=float("nan"), batch=0)
        self.bar.update(self.before, completed=done, visible=done < total)

    def step(self, step: int, images: int, loss: float) -> None:
        """Advance by one step."""
        self.bar.update(self.task, completed=step, loss=loss, batch=images)

    def validated(self, row: dict[str, float]) -> None:
        """Print the validation above the bar."""
        say(
            f"{self.name}: epoch {row['epoch']:.4g}, step {row['step']:.0f}: "
            f"training loss {row['train_loss']:.4f}, validation loss {row['val_loss']:.4f}, "
            f"accuracy {row['val_accuracy']:.2%}, {row['images_per_second']:,.0f} images/s"
        )

    def __enter__(self) -> "TrainingBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

"""The demonstration: one network of each of the three papers' families, trained on real images and compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.display.result import Block, Lines, Paragraph, Result, Table
from convwright.options import Bounds, checks_arguments
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.reporting import Entry
    from convwright.training.run_plan import Plan

NOTE = "MACs are multiply-adds for one image; the papers call them FLOPs."
MOST_EPOCHS = 20
"""Small data is learnt long before the time is over."""


@dataclass(frozen=True)
class Family:
    """A network of the demonstration."""

    title: str
    folder: str
    expression: str
    least: int
    """Smallest height of the last feature maps in pixels, chosen so that the network learns much in a minute."""


FAMILIES = (
    Family("DenseNet-BC", "densenet-bc", "densenet121|scale:d=0.34,w=0.375", 1),
    Family("SE-ResNet", "se-resnet", "cifar_seresnet8", 4),
    Family("EfficientNet", "efficientnet", "efficientnet_b0|scale:d=0.3,w=0.25", 2),
)


@dataclass(frozen=True)
class Demo(Result):
    """The trained networks side by side."""

    entries: "tuple[Entry, ...]"
    page: Path
    """The page that compares them."""

    def to_dict(self) -> dict[str, object]:
        """Return the networks under `networks`, in the same list as `--json` prints."""
        return {"networks": self.json_value()}

    def json_value(self) -> list[dict[str, object]]:
        """Return accuracy, cost and run of each network."""
        return [
            {
                "network": entry.title,
                "expression": entry.run.network.name,
                "split": entry.split,
                "images": entry.images,
                "accuracy": entry.accuracy,
                "interval": list(entry.interval),
                "params": entry.run.summary.params,
                "macs": entry.run.summary.macs,
                "train_seconds": entry.run.summary.train_seconds,
                "run": str(entry.run.path),
            }
            for entry in self.entries
        ]

    def blocks(self) -> Iterable[Block]:
        """Yield a table of the networks, and the place of the page."""
        titles = ("network", "accuracy", "95 % interval", "parameters", "MACs", "training")
        yield Table(titles, [self._row(entry) for entry in self.entries])
        yield Paragraph(NOTE)
        yield Lines(f"the page that compares them: {printable(self.page)}")

    @staticmethod
    def _row(entry: "Entry") -> tuple[str, ...]:
        low, high = entry.interval
        summary = entry.run.summary
        return (
            entry.title,
            f"{entry.accuracy:.2%}",
            f"{low:.2%} - {high:.2%}",
            f"{summary.params:,}",
            f"{summary.macs / 1e6:.1f} M",
            f"{summary.train_seconds:.0f} s",
        )


@checks_arguments
def demo(
    minutes: Annotated[float, Bounds(gt=0)] = 3.6, data: str | None = None, out: str | Path = Path("demo")
) -> Demo:
    """Train a DenseNet-BC, an SE-ResNet and a small EfficientNet on real images, and compare them on a page.

    Stopped or killed at any moment, the same call resumes; runs that have ended are kept.

    Args:
        minutes: Time for training, all three networks together.
        data: Fashion-MNIST if this machine has it, else digits; or any data that `cw.train` takes.
        out: Folder for the runs and the page.

    Returns:
        The networks with accuracy, cost and training time, and the page.

    Raises:
        UsageError: The folder holds other runs, or the data cannot be opened.

    Example:
        >>> cw.demo(minutes=1, data="digits", out="demo").page  # doctest: +SKIP
        PosixPath('demo/report.html')
    """
    from convwright.api.reports import report
    from convwright.data import default_source
    from convwright.display.progress import print_progress
    from convwright.places import check_folder

    out = Path(out)
    check_folder("out", out)
    spec = data or default_source()
    for family in FAMILIES:
        _train(family, spec, out / family.folder, minutes / len(FAMILIES))
    print_progress("measuring the three networks, and what they look at, for the page ...")
    page = out / "report.html"
    made = report(
        [out / family.folder for family in FAMILIES],
        page,
        title=f"Three families on {spec}",
        names=[family.title for family in FAMILIES],
    )
    return Demo(tuple(made.entries), page)


def _train(family: Family, spec: str, path: Path, minutes: float) -> None:
    """Train a network, resume its run, or keep the one that has ended."""
    from convwright.display.progress import print_progress
    from convwright.errors import UsageError
    from convwright.training.epochs import epochs_in_minutes
    from convwright.training.loop import resume, train
    from convwright.training.process_state import preserved_process_state
    from convwright.training.progress_bar import progress_callback
    from convwright.training.run import Run

    plan = _planned(family, spec, path)
    bar = progress_callback(family.title)
    if (path / "config.yaml").exists():
        run = Run.open(path)
        if (run.config.data, run.network) != (plan.config.data, plan.network):
            raise UsageError(f"{path} holds a run of {run.network.name} on {run.config.data}; give another folder")
        print_progress(f"{family.title}: {'kept' if run.finished else 'resumed'} in {path}")
        resume(run, plan.data, [bar])
    else:
        print_progress(f"{family.title}: measuring how fast this machine trains {plan.network.name}")
        with preserved_process_state():
            epochs = epochs_in_minutes(minutes, plan.config, plan.network, plan.data, MOST_EPOCHS)
        train(plan.config.model_copy(update={"epochs": epochs}), plan.network, plan.data, path, [bar])


def _planned(family: Family, spec: str, path: Path) -> "Plan":
    from convwright.arch import fit_resolution
    from convwright.arch.expression import network
    from convwright.data.opened import Data
    from convwright.training.plan import plan
    from convwright.training.request import TrainRequest
    from convwright.training.run_plan import Plan

    images = Data(spec).dataset(largest=64)
    fitted = fit_resolution(network(family.expression), images.resolution, family.least)
    config, fitted = plan(images, fitted)
    return Plan(TrainRequest(data=spec, network=fitted, out=path), config, fitted, images, path)

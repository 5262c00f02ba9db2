"""`convwright demo`: one network of each family, trained on real images and compared."""

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_folder
from convwright.errors import UsageError
from convwright.printable import printable, quoted

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.data import Dataset
    from convwright.reporting import Entry
    from convwright.training.config import TrainConfig


class Contestant(NamedTuple):
    """A network of the demo."""

    title: str
    folder: str
    expression: str
    least: int
    """Pixels that the last map's side keeps: each network is fitted so as to learn much in a minute."""


CONTESTANTS = (
    Contestant("DenseNet-BC", "densenet-bc", "densenet121|scale:d=0.34,w=0.375", 1),
    Contestant("SE-ResNet", "se-resnet", "cifar_seresnet8", 4),
    Contestant("EfficientNet", "efficientnet", "efficientnet_b0|scale:d=0.3,w=0.25", 2),
)
MOST_EPOCHS = 20
"""Small data is learnt long before the time is over."""


def demo(
    minutes: Annotated[float, typer.Option(help="Time for training, all three networks together.")] = 3.6,
    data: Annotated[
        str | None, typer.Option(help="Fashion-MNIST if this machine has it, else digits; or any --data of train.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the runs and the page; what is done there is kept.")] = Path(
        "demo"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Train a DenseNet-BC, an SE-ResNet and a small EfficientNet on real images, and compare them on a page."""
    if not 0 < minutes < inf:
        raise UsageError(f"--minutes takes a number above 0, not {minutes:g}")
    check_folder("--out", out)
    from convwright.cli.report import gather
    from convwright.data import default_source
    from convwright.display.progress import say
    from convwright.reporting import compose, write

    spec = data or default_source()
    share = minutes / len(CONTESTANTS)
    for contestant in CONTESTANTS:
        _train(contestant, spec, out / contestant.folder, share)
    say("measuring the three networks, and what they look at, for the page ...")
    paths, titles = [out / c.folder for c in CONTESTANTS], [c.title for c in CONTESTANTS]
    entries, notes = gather(paths, titles=titles)
    page = out / "report.html"
    write(page, compose(f"Three families on {spec}", entries, notes=notes))
    if as_json:
        print_json([_row(entry) for entry in entries])
    else:
        _print_table(map(_row, entries))
        echo(f"the page that compares them: {printable(page)}")
    say(f"try: convwright show {quoted(CONTESTANTS[0].expression)}")


def _train(contestant: Contestant, spec: str, path: Path, minutes: float) -> None:
    """Train a contestant, go on with an interrupted run, or take the one that has ended."""
    from convwright.cli.training_bar import TrainingBar
    from convwright.data import open_dataset
    from convwright.display.progress import counting, say
    from convwright.training.epochs import epochs_in_minutes
    from convwright.training.loop import resume, train
    from convwright.training.run import Run

    with counting() as progress:
        images = open_dataset(spec, largest=64, progress=progress)
    with TrainingBar(contestant.title) as bar:
        if (path / "config.yaml").exists():
            run = Run.open(path)
            config, fitted = _planned(contestant, images)
            if (run.config.data, run.network) != (config.data, fitted):
                raise UsageError(f"{path} holds a run of {run.network.name} on {run.config.data}; give another --out")
            say(f"{contestant.title}: {'taken from' if run.finished else 'going on in'} {path}")
            resume(run, images, bar)
        else:
            config, fitted = _planned(contestant, images)
            say(f"{contestant.title}: measuring how fast this machine trains {fitted.name}")
            epochs = epochs_in_minutes(minutes, config, fitted, images, MOST_EPOCHS)
            train(config.model_copy(update={"epochs": epochs}), fitted, images, path, bar)


def _planned(contestant: Contestant, images: "Dataset") -> "tuple[TrainConfig, Network]":
    from convwright.arch import fit_resolution
    from convwright.arch.expression import network
    from convwright.training.plan import plan

    return plan(images, fit_resolution(network(contestant.expression), images.resolution, contestant.least))


def _row(entry: "Entry") -> dict[str, Any]:
    summary = entry.run.summary
    return {
        "network": entry.title,
        "expression": entry.run.network.name,
        "split": entry.split,
        "images": entry.images,
        "accuracy": entry.accuracy,
        "interval": list(entry.interval),
        "params": summary["params"],
        "macs": summary["macs"],
        "train_seconds": summary["train_seconds"],
        "run": str(entry.run.path),
    }


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption="MACs are multiply-adds for one image; the papers call them FLOPs.", box=None)
    for name in ("network", "accuracy", "95 % interval", "parameters", "MACs", "training"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for row in rows:
        low, high = row["interval"]
        table.add_row(
            row["network"],
            f"{row['accuracy']:.2%}",
            f"{low:.2%} - {high:.2%}",
            f"{row['params']:,}",
            f"{row['macs'] / 1e6:.1f} M",
            f"{row['train_seconds']:.0f} s",
        )
    Console(highlight=False).print(table)

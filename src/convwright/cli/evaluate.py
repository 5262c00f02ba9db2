"""`convwright evaluate`: how good a run's network is on images that it was not trained on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.errors import UsageError

if TYPE_CHECKING:
    from convwright.training.evaluation import Evaluation
    from convwright.training.run import Run


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    split: Annotated[
        str | None, typer.Option(help="test, val or train; by default test, or val where the data has no test split.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure accuracy, with its 95 % confidence interval, on the test images."""
    if split not in (None, "test", "val", "train"):
        raise UsageError(f"--split is test, val or train, not {split!r}")
    from convwright.training.run import Run

    opened = Run.open(run)
    split, result = evaluate_run(opened, split)
    low, high = result.interval
    if as_json:
        facts: dict[str, Any] = {"run": str(run), "network": opened.network.name, "split": split}
        facts |= {"accuracy": result.accuracy, "interval": [low, high], "loss": result.loss, "images": result.images}
        typer.echo(json.dumps(facts))
    else:
        typer.echo(
            f"{opened.network.name}: accuracy {result.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}) "
            f"on {result.images:,} {split} images, loss {result.loss:.4f}"
        )


def evaluate_run(run: "Run", split: str | None = None) -> tuple[str, "Evaluation"]:
    """Evaluate a run's best weights on a split of its data; return the split's name and the result."""
    from convwright.cli.progress import counting
    from convwright.cli.train import open_run_data
    from convwright.data import evaluation_batches
    from convwright.training.evaluation import evaluate
    from convwright.training.loop import EVALUATION_BATCH
    from convwright.training.predictor import load

    predictor = load(run.path)
    data = open_run_data(run)
    splits = {"test": data.test, "val": data.val, "train": data.train}
    name = split or ("test" if data.test is not None else "val")
    chosen = splits[name]
    if chosen is None:
        raise UsageError(f"{run.config.data} has no test split; evaluate on --split val")
    if data.classes != run.classes:
        raise UsageError(f"{run.config.data} no longer has the classes that {run.path} was trained on")
    done = 0
    with counting() as progress:

        def count(images: int) -> None:
            nonlocal done
            done += images
            progress(done, len(chosen), f"evaluating on {name} images")

        batches = evaluation_batches(chosen, data, EVALUATION_BATCH)
        return name, evaluate(predictor.module, batches, predictor.device, after_batch=count)

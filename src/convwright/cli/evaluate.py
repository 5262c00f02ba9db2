"""`convwright evaluate`: how good a run's network is on images that it was not trained on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.cli.scores import as_text
from convwright.csv_text import csv_table
from convwright.errors import UsageError
from convwright.printable import printable

if TYPE_CHECKING:
    import torch

    from convwright.data import Dataset, Split
    from convwright.evaluation.measures import Measures
    from convwright.training.run import Run
    from convwright.training.views import View

SPLITS = ("test", "val", "train", "all")


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    split: Annotated[
        str | None,
        typer.Option(
            help="test, val, train or all; by default test. Where there is no test split: val, or all of --data."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Another folder or source with the same classes, matched by name.")
    ] = None,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta", help="Average over the image shifted and mirrored, as far as in training (test-time augmentation)."
        ),
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write label, prediction and its probability of each image to this CSV file. "
            "Names that begin like a formula get a ' before them."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure accuracy, with its 95 % confidence interval, on the test images; then class by class."""
    if split not in (None, *SPLITS):
        raise UsageError(f"--split is {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, not {split!r}")
    check_file("--predictions", predictions)
    from convwright.training.run import Run
    from convwright.training.views import AS_IT_IS, views_of

    opened = Run.open(run)
    views = views_of(opened.config.recipe, opened.network.resolution) if tta else AS_IT_IS
    name, result = evaluate_run(opened, split, data=data, views=views, device=device, predictions=predictions)
    if as_json:
        facts: dict[str, Any] = {"run": str(run), "network": opened.network.name, "data": data or opened.config.data}
        facts |= {"split": name, "views": list(map(str, views))} | result.as_json(opened.classes)
        print_json(facts)
        return
    low, high = result.interval
    which = f"{'' if name == 'all' else name + ' '}images" + (f" of {printable(data)}" if data else "")
    echo(
        f"{printable(opened.network.name)}: accuracy {result.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}) "
        f"on {result.images:,} {which}, loss {result.loss:.4f}"
    )
    if len(views) > 1:
        echo(f"averaged over {len(views)} views of each image: {', '.join(map(str, views))}")
    elif tta:
        echo("--tta changes nothing: the run was trained without crops and mirror images")
    echo(as_text(result, opened.classes))


def evaluate_run(
    run: "Run",
    split: str | None = None,
    *,
    data: str | None = None,
    views: "Sequence[View] | None" = None,
    device: str = "auto",
    predictions: Path | None = None,
) -> tuple[str, "Measures"]:
    """Evaluate a run's best weights on a split of its data, or of other data; return the split's name too."""
    from convwright.display.progress import counting
    from convwright.evaluation.assessment import assess
    from convwright.prediction.network import load
    from convwright.training.views import AS_IT_IS

    predictor = load(run.path, device)
    images = _open(run, data)
    name = split or ("test" if images.test is not None else "all" if data else "val")
    parts = _parts(images, name)
    _warn(run, images, name, other=data is not None)
    record = _Record(parts, predictor.classes) if predictions else None
    done, total = 0, sum(map(len, parts.values()))
    with counting() as progress:

        def after_batch(logits: "torch.Tensor", labels: "torch.Tensor") -> None:
            nonlocal done
            done += len(labels)
            progress(done, total, f"evaluating on {name} images")
            if record:
                record.add(logits, labels)

        result = assess(predictor, images, list(parts.values()), views=views or AS_IT_IS, after_batch=after_batch)
    if record and predictions:
        record.write(predictions)
    return name, result


def _open(run: "Run", spec: str | None) -> "Dataset":
    """Open the run's data, or other data in the same way."""
    from convwright.training.run_data import open_run_data

    asked = run if spec is None else replace(run, config=run.config.model_copy(update={"data": spec}))
    return open_run_data(asked)


def _parts(data: "Dataset", split: str) -> "dict[str, Split]":
    """Return the images of a split, or of all. UsageError if there are none."""
    splits = {"test": data.test, "val": data.val, "train": data.train}
    chosen = {name: part for name, part in splits.items() if part is not None and split in (name, "all")}
    if not chosen:
        raise UsageError(f"{data.name} has no test split; evaluate on --split val")
    return chosen


def _warn(run: "Run", data: "Dataset", split: str, *, other: bool) -> None:
    """Say what makes the figures mean something else than one would think."""
    from convwright.display.progress import say

    if not run.finished:
        say(f"{printable(run.path)} has not ended; these are its best weights so far")
    if data.skipped:
        say(f"{len(data.skipped)} of the files could not be read; the first is {data.skipped[0]}")
    if not other and split != "test" and data.fingerprint != run.data.fingerprint:
        name = printable(data.name)
        say(f"{name} has changed since training: the network may have been trained on some of these images")


class _Record:
    """The network's prediction for each image, a row of CSV each."""

    def __init__(self, parts: "dict[str, Split]", classes: Sequence[str]) -> None:
        self.classes = classes
        self.places = (
            (split, part.names[number] if part.names else number)
            for split, part in parts.items()
            for number in range(len(part))
        )
        self.rows: list[tuple[object, ...]] = [("split", "image", "label", "prediction", "probability")]

    def add(self, logits: "torch.Tensor", labels: "torch.Tensor") -> None:
        """Take the next batch."""
        best = logits.softmax(1).max(1)
        for label, index, probability in zip(labels.tolist(), best.indices.tolist(), best.values.tolist(), strict=True):
            names = (self.classes[label], self.classes[index])
            self.rows.append((*next(self.places), *names, f"{probability:.6g}"))

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        from convwright.files import write_text

        write_text(path, csv_table(self.rows))

"""`convwright train`: a network from images to a run directory, or a run resumed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convwright.api.training import cross_validate
from convwright.api.training import resume as resume_run
from convwright.api.training import train as train_network
from convwright.cli.generate import command
from convwright.cli.output import echo
from convwright.errors import ArgumentError, SubprocessError, argument
from convwright.options import Option, options_of_model
from convwright.printable import quoted
from convwright.training.config import Recipe
from convwright.training.request import TrainRequest, missing_data

if TYPE_CHECKING:
    from convwright.api.runs import Run
    from convwright.training.cross_validation import CrossValidation

FIRST = ("data", "network", "epochs", "minutes", "seed", "out", "batch_size", "resolution")
"""Options that help lists first."""
CONFIG = Option(
    "config",
    (Path,),
    nullable=True,
    default=None,
    description="Repeat a run by its config.yaml, or a saved request; other options override it.",
)


def options() -> list[Option]:
    """Return the fields of a request as options, the usual ones first, the others by group."""
    found = options_of_model(TrainRequest)
    grouped = [
        replace(each, default=None, group=each.group or ("Recipe" if each.name in Recipe.model_fields else ""))
        for each in found
    ]
    rank = {name: index for index, name in enumerate(FIRST)}
    return [*sorted(grouped, key=lambda each: rank.get(each.name, len(rank))), CONFIG]


def run(resume: Path | None = None, **given: Any) -> "Run | CrossValidation":
    """Train what the options describe, one run or one for each fold, or resume a run."""
    if resume is None:
        if "data" not in given and "config" not in given:
            raise ArgumentError("data", missing_data())
        with _printed_once():
            return cross_validate(**given) if _all_folds(given) else train_network(**given)
    from convwright.training.run import Run as StoredRun
    from convwright.training.start import Execution, check_same

    if "config" in given:
        raise ArgumentError("config", "cannot be combined with --resume; a resumed run keeps its options")
    execution = {each.name for each in fields(Execution)}
    with argument("resume"):
        opened = StoredRun.open(resume)
    check_same(opened, {name: value for name, value in given.items() if name not in execution})
    with _printed_once():
        return resume_run(opened, **{name: value for name, value in given.items() if name in execution})


@contextmanager
def _printed_once() -> Iterator[None]:
    """Leave it to the processes of several devices to print that they were stopped."""
    from convwright.training.interrupt import Interrupted

    try:
        yield
    except Interrupted as stopped:
        if stopped.printed:
            raise SubprocessError(str(stopped), stopped.exit_status) from None
        raise


def _all_folds(given: dict[str, Any]) -> bool:
    return given.get("folds") is not None and given.get("fold") is None


def show(finished: "Run | CrossValidation") -> None:
    """Print the result of a run, once for all of its processes, or of a cross-validation."""
    from convwright.training.cross_validation import CrossValidation
    from convwright.training.devices import is_main_process

    if not is_main_process():
        return
    if isinstance(finished, CrossValidation):
        echo(str(finished))
        return
    echo(f"{finished.headline()}\nevaluate it with: convwright evaluate {quoted(finished.path)}")


train = command(
    train_network,
    name="train",
    options=options(),
    extra=[
        click.Option(
            ["--resume"], type=click.Path(path_type=Path), help="Continue this run where it stopped.", metavar="RUN"
        )
    ],
    call=run,
    show=show,
)

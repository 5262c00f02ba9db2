"""`convwright report`: one page that shows what runs have learnt, at what cost, and where they are wrong."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.data import Dataset
    from convwright.reporting import Entry
    from convwright.training.run import Run

PAGE = Path("report.html")


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, one or more.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; report.html by default, and none with --json.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Another folder or source with the same classes, for all runs.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what the page says as JSON.")] = False,
) -> None:
    """Write one self-contained page on runs: accuracy and cost, curves, mistakes, calibration, what networks look at.

    Measured on the test images, or on the validation images where there are none.
    """
    page = out or (None if as_json else PAGE)
    check_file("--out", page)
    from convwright.display.progress import say
    from convwright.reporting import compose, write
    from convwright.reporting.facts import facts

    entries, notes = gather(runs, data=data, device=device)
    for line in notes:
        say(line)
    made = compose(title, entries, notes=notes)
    if page is not None:
        write(page, made)
    if as_json:
        print_json(facts(made))
    else:
        echo(made.summary.replace("\xa0", " "))
        echo(f"page: {printable(page)}")


def gather(
    paths: Sequence[Path], *, data: str | None = None, titles: Sequence[str] | None = None, device: str = "auto"
) -> "tuple[list[Entry], list[str]]":
    """Measure runs; return what the page needs of each, and a line for each run that is not whole.

    Runs without weights are left out. RunError if all are.
    """
    from convwright.display.progress import counting
    from convwright.reporting import measuring
    from convwright.reporting.wording import unfinished
    from convwright.scaling.latency import Stopwatch
    from convwright.training.run import Run

    opened = [Run.open(path) for path in dict.fromkeys(paths)]
    named = list(zip(titles or measuring.titles([run.path for run in opened]), opened, strict=True))
    ready = [(title, run) for title, run in named if run.weights.exists()]
    notes = [f"{title} is left out: it has no weights yet." for title, run in named if not run.weights.exists()]
    if not ready:
        opened[0].existing_weights()  # raises what is wrong with them
    images: dict[str, Dataset] = {}
    entries = []
    for title, run in ready:
        opened_data = _opened(run, data, images)
        with counting() as progress:
            told = partial(_evaluating, progress, title)
            entries.append(
                measuring.measured(
                    run, opened_data, title, other=data, device=device, stopwatch=Stopwatch(), after_batch=told
                )
            )
    notes += [line for entry in entries if (line := unfinished(entry))]
    return entries, notes + _changed(entries)


def _evaluating(progress: "Callable[[int, int, str], None]", title: str, done: int, total: int) -> None:
    progress(done, total, f"evaluating {title}")


def _opened(run: "Run", spec: str | None, images: "dict[str, Dataset]") -> "Dataset":
    """Open the run's data, or other data in the same way; once where several runs have it in common."""
    from convwright.training.run_data import open_run_data

    config = run.config if spec is None else run.config.model_copy(update={"data": spec})
    key = repr((config.data, config.resolution, config.val_share, config.seed, config.max_bad))
    if key not in images:
        images[key] = open_run_data(replace(run, config=config))
    return images[key]


def _changed(entries: "Sequence[Entry]") -> list[str]:
    """Say which networks may have been trained on the images that they are measured on."""
    from convwright.reporting.wording import data_name

    changed = [
        entry
        for entry in entries
        if entry.answers and entry.split == "val" and not entry.data
        if entry.answers.data.fingerprint != entry.run.data.fingerprint
    ]
    return [
        f"{data_name(entry)} has changed since {entry.title} was trained: it may have seen some of these images."
        for entry in changed
    ]

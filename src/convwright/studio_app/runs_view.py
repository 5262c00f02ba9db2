"""The runs of the folder: their state, curves and results, as far as their files show them."""

import csv
import math
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from convwright.display.result import Table
from convwright.errors import UsageError
from convwright.studio_app.answers import Answer
from convwright.studio_app.folder import StudioFolder, read_json

CURVES = ("epoch", "step", "train_loss", "val_loss", "val_accuracy", "val_map")
MOST_RUNS, MOST_COMPARED = 40, 8


def run_states(folder: StudioFolder, running: Collection[str] = ()) -> list[dict[str, object]]:
    """Return the newest runs with their curves.

    Args:
        folder: The studio's folder.
        running: Runs that a process trains.
    """
    return [_state(folder, name, running) for name in folder.runs()[:MOST_RUNS]]


def compare_runs(folder: StudioFolder, names: list[str]) -> Answer:
    """Return runs side by side.

    Raises:
        UsageError: A name is not a run of the folder, or fewer than two or too many are given.
    """
    names = list(dict.fromkeys(names))
    if not 2 <= len(names) <= MOST_COMPARED:
        raise UsageError(f"{len(names)} runs: choose 2 to {MOST_COMPARED}")
    for name in names:
        folder.run(name)
    from convwright.api.training import open_run
    from convwright.arch.cost import cost
    from convwright.units import human

    rows = []
    for name in names:
        run = open_run(folder.run(name))
        figures = cost(run.network)
        score = f"{run.summary.score:.2%}" if run.finished else "not finished"
        minutes = f"{run.summary.train_seconds / 60:.1f}" if run.finished else ""
        rows.append((name, human(figures.params), human(figures.macs), score, minutes, run.network.name))
    titles = ("run", "params", "MACs", "validation", "minutes", "network")
    values: dict[str, object] = {"runs": [_state(folder, name) for name in names]}
    command, python = ["compare", *names], f"cw.compare({', '.join(map(repr, names))})"
    if len(names) > 2:  # `compare` takes pairs; a report has a table of any number, and every pair
        command, python = ["report", *names, "--html", "report.html"], f'cw.report({names!r}, "report.html")'
    return Answer(Table(titles, rows).to_html(), command, python, values)


def _state(folder: StudioFolder, name: str, running: Collection[str] = ()) -> dict[str, object]:
    try:
        path = folder.run(name)
    except UsageError as error:
        return {"run": name, "network": "", "state": str(error), "curves": []}
    network, summary = read_json(path / "network.json"), read_json(path / "summary.json")
    return {
        "run": name,
        "network": str(network.get("name", "")),
        "state": "finished" if summary else "running" if name in running else "unfinished",
        "curves": _curves(path / "metrics.csv"),
    }


def _curves(path: Path) -> list[dict[str, float | None]]:
    """Return the validations so far. The file may just be replaced, so that nothing is demanded of it."""
    with suppress(OSError, csv.Error, UnicodeDecodeError), path.open(encoding="utf-8", newline="") as file:
        return [
            {name: _number(row[name]) for name in CURVES if row.get(name) is not None} for row in csv.DictReader(file)
        ]
    return []


def _number(text: str) -> float | None:
    with suppress(ValueError):
        value = float(text)
        return value if math.isfinite(value) else None
    return None

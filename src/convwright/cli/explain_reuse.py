"""`convwright explain reuse` and `prune`: which dense layers read whose maps, and the cost of cutting connections."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convwright.cli.generate import command, parameters_of
from convwright.display.figure_result import FigureResult, JoinedResult
from convwright.errors import UsageError
from convwright.explain import functions
from convwright.options import options_of
from convwright.places import check_file, check_page

if TYPE_CHECKING:
    from convwright.explain import Pruning

CUTTING = [
    replace(each, default=None, description=f"With --prune: {each.description[0].lower()}{each.description[1:]}")
    for each in options_of(functions.prune)
    if each.name in ("draws", "split")
]
PRUNE = click.Option(["--prune"], metavar="SHARES", help="Cut these shares of the connections as well: 0.1,0.2,0.4.")
OUT = click.Option(["--out"], type=Path, hidden=True, help="Earlier name of --html.")
CSV = click.Option(["--csv", "csv_file"], type=Path, help="Write every connection to this CSV file.")


def _reuse(
    run: str, *, prune: str | None = None, out: Path | None = None, csv_file: Path | None = None, **values: Any
) -> FigureResult:
    shares = None if prune is None else _shares(prune)
    check_page("out", out)
    check_file("csv_file", csv_file)
    cutting = {each.name: values.pop(each.name) for each in CUTTING if each.name in values}
    if cutting and shares is None:
        raise UsageError(f"--{next(iter(cutting))} requires --prune")
    for each in CUTTING:
        each.check(cutting.get(each.name))
    found = functions.reuse(run, **values)
    result = found if shares is None else JoinedResult(found, found.prune(shares, **cutting))
    if csv_file is not None:
        found.save_csv(csv_file)
    if out is not None:
        result.save_html(out)
    return result


def _shares(text: str) -> list[float]:
    """Read shares from 0 to 1 such as `0.1,0.2`."""
    shares = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            shares.append(float(part))
        except ValueError:
            shares.append(-1.0)
        if not 0 <= shares[-1] <= 1:
            raise UsageError(f"--prune: must be shares from 0 to 1 such as 0.1,0.2, not {part!r}")
    if not shares:
        raise UsageError("--prune: must be shares from 0 to 1 such as 0.1,0.2; none is given")
    return shares


def _prune(run: str, *, shares: tuple[float, ...], **values: Any) -> "Pruning":
    return functions.prune(run, list(shares), **values)


EXTRA = [PRUNE, *parameters_of(CUTTING), OUT, CSV]
reuse = command(functions.reuse, name="reuse", arguments=("run",), extra=EXTRA, call=_reuse, html=True)
prune = command(functions.prune, name="prune", arguments=("run", "shares"), call=_prune, html=True)

"""`convwright explain excitation` and `drop`: what squeeze-and-excitation does in a trained network, and its worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convwright.cli.generate import command, option_names, parameters_of
from convwright.display.figure_result import FigureResult, JoinedResult
from convwright.display.progress import print_progress
from convwright.errors import UsageError
from convwright.explain import functions
from convwright.options import options_of
from convwright.places import check_page
from convwright.printable import printable, quoted

if TYPE_CHECKING:
    from convwright.explain import DropResult
    from convwright.explain.opened import OpenNetwork

BY = [each for each in options_of(functions.drop) if each.name == "by"]
DROP = click.Option(["--drop"], is_flag=True, help="Take squeeze-and-excitation out step by step as well.")
SAVE = click.Option(["--save"], type=int, metavar="STEP", help="Write the network after this step as a run.")
OUT = click.Option(["--out"], type=Path, help="With --save: the new run.")


def _excitation(run: str, *, drop: bool = False, by: str | None = None, save: int | None = None,
                out: Path | None = None, device: str = "auto", **values: Any) -> FigureResult:  # fmt: skip
    if not drop and (by is not None or save is not None):
        raise UsageError(f"--{'save' if by is None else 'by'} requires --drop")
    if save is None:
        check_page("out", out)
    if "classes" in values:
        values["classes"] = _names(values["classes"])
    source = _opened(run, device, by or "stages", save, out, values.get("split", "val"))
    found = functions.excitations(source, **values)
    if not drop:
        result: FigureResult = found
    else:
        steps = found.drop(by or "stages")  # type: ignore[arg-type]
        _save(steps, save, out)
        result = JoinedResult(found, steps)
    if save is None and out is not None:
        result.save_html(out)
    return result


def _drop(run: str, *, by: str = "stages", split: str = "val", device: str = "auto", save: int | None = None,
          out: Path | None = None) -> "DropResult":  # fmt: skip
    if out is not None and save is None:
        raise UsageError("--out requires --save STEP")
    steps = functions.drop(_opened(run, device, by, save, out, split), by=by, split=split)  # type: ignore[arg-type]
    _save(steps, save, out)
    return steps


def _opened(run: str, device: str, by: Any, save: int | None, out: Path | None, split: str) -> "OpenNetwork":
    """Open the run; first check that a step can be saved."""
    from convwright.explain.drop_result import check_run_folder, check_save
    from convwright.explain.opened import open_network

    with option_names({"folder": "--out", "step": "--save"}):
        if save is not None:
            if out is None:
                raise UsageError("--save writes a run; name its directory with --out RUN")
            check_run_folder("folder", out)
        source = open_network(run, device)
        if save is not None and out is not None:
            check_save(source, by, split, save, out)
    return source


def _save(steps: "DropResult", save: int | None, out: Path | None) -> None:
    if save is not None and out is not None:
        steps.save(out, save)
        print_progress(f"step {save} is written to {printable(out)}; try: convwright evaluate {quoted(out)}")


def _names(texts: tuple[str, ...]) -> list[str]:
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--classes: must be names with commas between them; none is given")
    return names


EXTRA = [DROP, *parameters_of(BY), SAVE, OUT]
excitation = command(
    functions.excitations, name="excitation", arguments=("run",), extra=EXTRA, call=_excitation, html=True
)
drop = command(functions.drop, name="drop", arguments=("run",), extra=[SAVE, OUT], call=_drop, html=True)

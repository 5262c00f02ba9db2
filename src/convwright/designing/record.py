"""What an unfinished design keeps in its folder for its user: `design.json`, and a link to its best run so far."""

from contextlib import suppress
from pathlib import Path

from convwright import json_text
from convwright.arch.cost import cost
from convwright.designing.state import DECISIONS, BestSoFar, State
from convwright.display.wording import percent
from convwright.errors import ConvwrightError
from convwright.files import temporary_beside, write_text

BEST = "best"
"""Link in a design's folder to the run directory of its best network so far."""


def write_record(state: State, seconds: float) -> None:
    """Write the best network so far and every decision to `design.json`, and let the link `best` lead to its run.

    Args:
        state: The design, which has not finished.
        seconds: Time that it has run.
    """
    if state.best is not None:
        _link(state.folder / BEST, state.best.run)
    content = {
        "finished": False,
        "request": state.request,
        "seconds": round(seconds, 1),
        "best": describe_best(state),
        "left_out": [vars(each) for each in state.left_out],
        "decisions": [each.to_dict() for each in state.decisions],
    }
    write_text(state.folder / DECISIONS, json_text.dump(content, indent=1) + "\n")


def describe_best(state: State) -> dict[str, object] | None:
    """Return the best network so far with its cost, run and validation accuracy; None before the first trial."""
    if state.best is None:
        return None
    network = state.candidate(state.best.candidate).network
    count = cost(network)
    return {
        "candidate": state.best.candidate,
        "network": network.name,
        "resolution": network.resolution,
        "params": count.params,
        "macs": count.macs,
        "run": str(state.folder / state.best.run),
        "val_accuracy": state.best.accuracy,
    }


def best_run(folder: Path, best: BestSoFar) -> Path:
    """Return the run directory of the best network so far, through the link where there is one."""
    link = folder / BEST
    return link if link.is_symlink() and link.readlink() == Path(best.run) else folder / best.run


def best_in_words(folder: Path) -> str:
    """Return where the best network so far is, as a clause; empty where a design has none."""
    try:
        best = State.open(folder).best
    except ConvwrightError:
        return ""
    if best is None:
        return ""
    return f"the best network so far is in {best_run(folder, best)} (validation accuracy {percent(best.accuracy)})"


def _link(link: Path, target: str) -> None:
    """Let a symbolic link lead to a run, at every moment to the earlier one or the new one."""
    if link.is_symlink() and link.readlink() == Path(target):
        return
    temporary = temporary_beside(link)
    try:
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
    except OSError:  # a file system without links: `design.json` has the path
        with suppress(OSError):
            temporary.unlink(missing_ok=True)

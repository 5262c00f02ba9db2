"""Reports on trained networks, and the papers' claims, each compared with our own value."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.errors import ArgumentError, UsageError, argument
from convwright.options import Flags, checks_arguments

if TYPE_CHECKING:
    from convwright.data.opened import Data
    from convwright.reporting import Report
    from convwright.reproduction import Reproduction
    from convwright.training.run import Run

__all__ = ["report", "reproduce"]


@checks_arguments
def report(
    runs: "Run | str | Path | Sequence[Run | str | Path]",
    out: Annotated[Path | str | None, Flags(("--html", "--out"))] = None,
    *,
    data: "Data | str | Path | None" = None,
    title: str | None = None,
    names: Sequence[str] | None = None,
    device: str = "auto",
    remeasure: bool = False,
) -> "Report":
    """Report on runs: accuracy and cost, learning curves, errors, calibration, and what the networks look at.

    Networks are measured on the test images, or on the validation images where the data has no test images.

    Args:
        runs: Run directories, one or more.
        out: File of the page, which is replaced if it exists; no page by default. The command writes `report.html` by
            default, unless it prints JSON.
        data: Another folder, list or built-in data set with the same classes, for all runs.
        title: Heading of the page.
        names: Names of the networks on the page, in the order of the runs; by default those of the folders.
        device: `cpu`, `cuda` or `auto`.
        remeasure: Measure latencies again that are in the user's cache.

    Returns:
        The report: a table of the networks, every figure, and the page if it has been written.

    Raises:
        RunError: A folder is no run, or no run has weights yet.
        DataError: The data cannot be opened, or has other classes.

    Example:
        >>> found = cw.report("runs/digits", "report.html")
        >>> found.page.name, found.entries[0].images
        ('report.html', 359)
        >>> found.figure("confusion").layout.xaxis.title.text
        'predicted class'
    """
    from dataclasses import replace

    from convwright.places import check_file
    from convwright.reporting import compose, measure_runs

    page = None if out is None else Path(out)
    check_file("out", page)
    with argument("runs"):
        opened = _opened([runs] if isinstance(runs, str | Path) or not isinstance(runs, Sequence) else runs)
    if names is not None and len(names) != len(opened):
        raise ArgumentError("names", f"must be one for each of the {len(opened)} runs, not {len(names)}")
    entries, notes = measure_runs(opened, data=_existing(data), names=names, device=device, remeasure=remeasure)
    made = compose(title, entries, notes=notes)
    if page is None:
        return made
    made.save_html(page)
    return replace(made, page=page)


@checks_arguments
def reproduce(paper: str | None = None) -> "Reproduction":
    """Compute the published values of the three papers that need no training, and judge each claim.

    Args:
        paper: densenet, senet or efficientnet; all three by default.

    Returns:
        Every claim with the printed figure, ours and a verdict; `figure()` plots accuracy against cost.

    Raises:
        UsageError: There is no such paper.

    Example:
        >>> found = cw.reproduce("senet")
        >>> {verdict.value: count for verdict, count in found.counts.items()}
        {'equal': 12, 'explained': 16, 'not computable here': 3, 'not explained': 2}
    """
    from convwright.reproduction import PAPERS, reproduce_papers

    with argument("paper"):
        return reproduce_papers(PAPERS if paper is None else [paper.lower()])


def _opened(runs: "Sequence[Run | str | Path]") -> "list[Run]":
    """Return the runs, each once."""
    from convwright.training.run import Run

    if not runs:
        raise UsageError("there must be one run or more")
    return list({run.path.absolute(): run for run in (Run.of(each, "runs") for each in runs)}.values())


def _existing(data: "Data | str | Path | None") -> "Data | str | None":
    """Return data that exists, as it was given."""
    from convwright.data.opened import Data
    from convwright.data.sources import check_exists

    if data is None:
        return None
    with argument("data"):
        check_exists(Data.of(data).spec)
    return data if isinstance(data, Data) else str(data)

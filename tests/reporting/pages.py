"""Pages of reports, written in one call."""

from collections.abc import Sequence
from pathlib import Path

from convwright.reporting import Entry, compose


def write_report(path: Path, title: str, entries: Sequence[Entry], *, intro: str = "") -> None:
    """Write the page of a report with these networks."""
    compose(title, entries, intro=intro).save_html(path)

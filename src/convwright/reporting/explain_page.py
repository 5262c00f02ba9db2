"""A page of figures that explain one network: one HTML file with everything in it."""

from collections.abc import Sequence
from pathlib import Path

from convwright.display.figures import Figure
from convwright.display.pages import write_figures


def write_explain_page(path: Path, title: str, summary: str, figures: Sequence[Figure]) -> None:
    """Write one self-contained page, completely or not at all."""
    write_figures(path, title=title, summary=summary, figures=figures)

"""A page of figures that explain one network: one HTML file with everything in it."""

from collections.abc import Sequence
from pathlib import Path

from convwright.reporting.figures import Figure
from convwright.reporting.rendering import write_html


def write_explain_page(path: Path, title: str, summary: str, figures: Sequence[Figure]) -> None:
    """Write one self-contained page, whole or not at all."""
    write_html(path, "explain.html.j2", title=title, summary=summary, shown=figures)

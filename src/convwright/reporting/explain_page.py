"""A page of figures that explain one network: one HTML file with everything in it."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from convwright.files import write_text
from convwright.reporting.figures import Figure


def write_explain_page(path: Path, title: str, summary: str, figures: Sequence[Figure]) -> None:
    """Write one self-contained page, whole or not at all."""
    environment = Environment(
        loader=PackageLoader("convwright.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plot_json"] = _plot_json
    page = environment.get_template("explain.html.j2").render(
        title=title, summary=summary, figures=figures, plotly=Markup(get_plotlyjs())
    )
    write_text(path, page)


def _plot_json(plot: go.Figure) -> Markup:
    return Markup(plot.to_json().replace("<", "\\u003c"))

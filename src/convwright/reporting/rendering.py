"""HTML pages: one environment and one base template for all of them.

Every page is one file that holds all it shows. Its template extends `base.html.j2`, which brings the style for light,
dark and paper, the header, the footer and the script that draws plots; `figures.html.j2` has the macros for figures.
"""

import shlex
from functools import cache
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from convwright.arch.units import human
from convwright.files import write_text


def write_html(path: Path, template: str, *, title: str, summary: str, plots: bool = True, **values: object) -> None:
    """Write a page as one self-contained file, completely or not at all.

    Args:
        path: The file; it is replaced if it exists.
        template: Name of the template, such as `report.html.j2`.
        title: Heading of the page.
        summary: Paragraph below the heading.
        plots: Whether the page has plots, and so needs Plotly's script.
        values: What the template shows.
    """
    write_text(path, render(template, title=title, summary=summary, plots=plots, **values))


def render(template: str, *, title: str, summary: str, plots: bool = True, **values: object) -> str:
    """Return a page as HTML; see `write_html`."""
    script = Markup(get_plotlyjs()) if plots else ""
    return environment().get_template(template).render(title=title, summary=summary, plotly=script, **values)


@cache
def environment() -> Environment:
    """Return the environment of all templates. Names that a template uses must be defined, and texts are escaped."""
    made = Environment(
        loader=PackageLoader("convwright.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "plot_json": plot_json,
        "human": human,
        "percent": lambda share: f"{100 * share:.1f}\u00a0%",
        "quoted": shlex.quote,
        "upper_first": lambda text: text[:1].upper() + text[1:],
    }
    return made


def plot_json(plot: go.Figure) -> Markup:
    """Return a plot as JSON that can stand in a script element, whatever its texts contain."""
    return Markup(plot.to_json().replace("<", "\\u003c"))

"""HTML pages: one environment and one base template for all of them.

Every page is one file that holds all it shows. Its template extends `base.html.j2`, which brings the style for light,
dark and paper, the header, the footer and the script that draws plots; `figures.html.j2` has the macros for figures.
Packages with pages of their own keep their templates in a folder `templates`.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from convwright import json_text
from convwright.display.figures import Figure
from convwright.display.path_names import PathNames
from convwright.files import write_text
from convwright.units import human

PACKAGE = "convwright.display"
CODE = re.compile("`([^`]+)`")
"""Code in a message, such as an option or a command."""


def write_html(
    path: Path,
    template: str,
    *,
    title: str,
    summary: str,
    package: str = PACKAGE,
    plots: bool = True,
    paths: Mapping[str, str] = {},
    **values: object,
) -> None:
    """Write a page as one self-contained file, completely or not at all.

    Args:
        path: The file; it is replaced if it exists.
        template: Name of the template, such as `report.html.j2`.
        title: Heading of the page.
        summary: Paragraph below the heading.
        package: Package that has the template.
        plots: Whether the page has plots, and so needs Plotly's script.
        paths: Paths of this machine, and what the page shows instead of each.
        values: What the template shows.
    """
    script = Markup(get_plotlyjs()) if plots else ""
    made = _without_paths(environment(package), PathNames(paths)) if paths else environment(package)
    page = made.get_template(template)
    write_text(path, page.render(title=title, summary=summary, plotly=script, **values))


def _without_paths(made: Environment, names: PathNames) -> Environment:
    """Return an environment whose pages show names instead of paths in texts, also of plots; HTML and scripts stay."""

    def shown(value: object) -> object:
        plain = isinstance(value, str | Path) and not isinstance(value, Markup)
        return names.in_text(str(value)) if plain else value

    made = made.overlay(finalize=shown)
    made.filters = made.filters | {
        "plot_json": lambda plot: plot_json(plot, names),
        "code": lambda text: with_code(names.in_text(text)),
    }
    return made


def write_figures(path: Path, *, title: str, summary: str, figures: Sequence[Figure], content: str = "") -> None:
    """Write a page of figures.

    Args:
        path: The file; it is replaced if it exists.
        title: Heading of the page.
        summary: Paragraph below the heading.
        figures: What the page shows, in order.
        content: HTML that follows the figures, such as tables.
    """
    plots = any(figure.panels for figure in figures)
    write_html(
        path, "figures_page.html.j2", title=title, summary=summary, plots=plots, shown=figures, content=Markup(content)
    )


def write_content(path: Path, *, title: str, content: str, summary: str = "") -> None:
    """Write a page of HTML that is made already.

    Args:
        path: The file; it is replaced if it exists.
        title: Heading of the page.
        content: The HTML; it cannot have scripts.
        summary: Paragraph below the heading.
    """
    write_html(path, "result.html.j2", title=title, summary=summary, plots=False, content=Markup(content))


@cache
def environment(package: str = PACKAGE) -> Environment:
    """Return the environment of a package's templates, which may use those of this package.

    Names that a template uses must be defined, and texts are escaped.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(PACKAGE)]),
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
        "sides": lambda size: "\u00a0×\u00a0".join(map(str, size if isinstance(size, tuple) else (size, size))),
        "size": lambda size: "×".join(map(str, size)) if isinstance(size, tuple) else str(size),
        "code": with_code,
        "upper_first": lambda text: text[:1].upper() + text[1:],
    }
    return made


def with_code(text: str) -> Markup:
    """Return a text of a message as HTML, with `code` in the element for it.

    Args:
        text: The text; what stands between backticks is code.
    """
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def plot_json(plot: go.Figure, names: PathNames | None = None) -> Markup:
    """Return a plot as JSON that can stand in a script element, whatever its texts contain.

    Args:
        plot: The plot.
        names: Names that its texts have instead of paths; None: the texts stay.
    """
    text = plot.to_json()
    if names is not None:
        text = json_text.dump(names.in_value(json_text.parse(text, "a plot")))
    return Markup(text.replace("<", "\\u003c"))

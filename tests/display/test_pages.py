"""Pages of all packages: one base template, escaped texts, and nothing that is fetched."""

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import pytest
from jinja2 import UndefinedError
from markupsafe import escape

import convwright as cw
from convwright.display import pages
from convwright.display.figures import Figure, Panel, axis, empty_plot
from convwright.display.pages import environment, with_code, write_content, write_figures, write_html
from convwright.display.path_names import PathNames
from convwright.display.plotly_figures import PALETTE, coloured
from convwright.display.result import Block, Lines, Result, Table

PACKAGES = Path(cw.__file__).parent
TEMPLATES = sorted(PACKAGES.glob("*/templates/*.html.j2"))
MACROS = {"base.html.j2", "figures.html.j2"}


def plot() -> go.Figure:
    made = empty_plot(340, axis(title="x"), axis(title="y"))
    return made.add_scatter(x=[1, 2], y=[3, 4], marker={"color": "var(--network-1)"})


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parents[1].name}-{path.name}")
def test_every_page_extends_the_base_template(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert template.name in MACROS or text.startswith('{% extends "base.html.j2" %}')
    assert text.count("<!doctype") == (template.name == "base.html.j2")
    assert text.count('class="plot"') == (template.name == "figures.html.j2")
    environment(f"convwright.{template.parents[1].name}").get_template(template.name)


def test_names_that_are_not_given_are_errors() -> None:
    with pytest.raises(UndefinedError):
        environment().get_template("result.html.j2").render(title="A")


@dataclass(frozen=True)
class TwoWords(Result):
    """A result with a table."""

    name: str

    def to_dict(self) -> dict[str, object]:
        """Return the name."""
        return {"name": self.name}

    def blocks(self) -> Iterable[Block]:
        """Yield a table and a line."""
        yield Table(("name", "length", ""), [(self.name, str(len(self.name)), "text")])
        yield Lines("a < b")


def test_a_result_has_a_page(tmp_path: Path) -> None:
    TwoWords("<b>&").save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>Two words</h1>" in page
    assert '<td class="text">&lt;b&gt;&amp;</td><td data-label="length">4</td>' in page
    assert "a &lt; b" in page
    assert "<script" not in page
    assert "script-src" not in page
    assert "default-src 'none'" in page


def test_figures_are_drawn_by_the_script_of_the_page(tmp_path: Path) -> None:
    figure = Figure("one", "One <b>", "Caption.", (Panel("Heading", plot(), 'A "plot"'),), findings=("Up.",))
    write_figures(tmp_path / "page.html", title="T", summary="S", figures=[figure, figure], content="<p>more</p>")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "One &lt;b&gt;" in page
    assert 'aria-label="A &#34;plot&#34;" style="min-height: 20.0rem"' in page
    assert ["Figure 1." in page, "Figure 2." in page, "Figure 3." in page] == [True, True, False]
    assert '<section class="content" tabindex="0" aria-label="Result"><p>more</p></section>' in page
    assert page.count("plotly.js v") == 1
    write_content(tmp_path / "page.html", title="T", content="<p>only</p>")
    assert "plotly" not in (tmp_path / "page.html").read_text(encoding="utf-8")


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a & b",
    'it\'s "here"',
    "back\\1slash",
    "Füße 猫",
    "long words " * 12,
    "{{ 1 }}",
]


def page_of(folder: Path, texts: list[str], paths: dict[str, str]) -> str:
    """A page that has the texts in its heading, in a caption and in a plot."""
    drawn = plot().update_layout(xaxis_title=" ".join(map(str, map(escape, texts))))
    figure = Figure("one", "One", " ".join(texts), (Panel("", drawn, "\n".join(texts)),))
    values = {"summary": "", "plots": False, "shown": [figure], "content": "", "paths": paths}
    write_html(folder / "page.html", "figures_page.html.j2", title=" ".join(texts), **values)
    return (folder / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_instead_of_paths_are_escaped_wherever_they_stand(name: str, tmp_path: Path) -> None:
    def texts(path: str) -> list[str]:
        return [path, f"{path}/a.png", shlex.join([path, "x"]), repr(path), json.dumps(path)]

    path = f"/secret/{name}"
    page = page_of(tmp_path, texts(path), {path: name})
    assert "secret" not in page
    assert "<img" not in page
    assert str(escape(name)) in page
    [drawn] = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert str(escape(name)) in json.loads(drawn)["layout"]["xaxis"]["title"]["text"]


@pytest.mark.parametrize("path", ["/", "//", ".", "../", "html"])
def test_what_names_no_folder_stays(path: str, tmp_path: Path) -> None:
    texts = ["https://example.org//a", "/", "a/b.html", "../c"]
    assert page_of(tmp_path, texts, {path: "gone"}) == page_of(tmp_path, texts, {"/not/there": "gone"})


def test_code_of_messages_is_marked_and_paths_in_it_are_replaced() -> None:
    text = "`convwright data /some/folder/a<b>` runs it, or ` alone"
    assert with_code(text) == "<code>convwright data /some/folder/a&lt;b&gt;</code> runs it, or ` alone"
    page = pages._without_paths(environment(), PathNames({"/some/folder": "folder"})).from_string("{{ text | code }}")
    assert page.render(text=text) == "<code>convwright data folder/a&lt;b&gt;</code> runs it, or ` alone"


def test_notebooks_have_the_light_colours_of_the_style_sheet() -> None:
    assert PALETTE["--paper"] == "#ffffff"
    assert coloured(plot()).data[0].marker.color == PALETTE["--network-1"] != PALETTE["--network-0"]
    assert "var(" not in coloured(plot()).to_json()

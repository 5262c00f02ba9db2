"""The documentation site: it builds without a warning, needs no network, and has every public name and command."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

import convwright as cw
from convwright.cli.main import app

from .chromium import EXECUTABLE, Browser

ROOT = Path(__file__).parents[1]

pytest.importorskip("material", reason="the site needs the extra docs")
pytest.importorskip("mkdocstrings", reason="the site needs the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def commands(command=app, words=()):
    """Yield the words of every command."""
    if words:
        yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*words, name))


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert {path.with_suffix(".html").as_posix() for path in sources} <= pages
    assert {"benchmarks.html", "changelog.html", "contributing.html"} <= pages
    for page in pages:
        text = (site / page).read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"'\s>]+)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=[\"']?([^\"'\s>]+)", text)
        assert loaded, page
        assert not [link for link in loaded if re.match(r"(https?:)?//", link)], page


def test_every_file_that_a_page_loads_is_there(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img)\b[^>]*\bsrc=\"([^\"#?:]+)", text)
        assert not [link for link in loaded if not (page.parent / link).is_file()], page


class Links(HTMLParser):
    """The addresses that a page links to, and the places in it that links can lead to."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.places = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "a" and found.get("href"):
            self.addresses.add(found["href"])
        self.places.add(found.get("id"))


def test_every_link_leads_somewhere(site):
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    wrong = []
    for page, links in pages.items():
        for address in links.addresses:
            target, _, place = address.partition("#")
            path = (page.parent / unquote(target)).resolve() if target else page
            if re.match(r"\w+:", address):
                continue
            if not path.is_file() or (place and path in pages and unquote(place) not in pages[path].places):
                wrong.append((page.name, address))
    assert not wrong


OVERFLOWING = """[...document.querySelectorAll('.md-content *')].filter(element => {
    let parent = element.parentElement;
    while (parent && getComputedStyle(parent).overflowX == 'visible') parent = parent.parentElement;
    return element.getBoundingClientRect().right > innerWidth + 1 && (!parent || parent == document.documentElement);
}).map(element => element.outerHTML.slice(0, 100))"""
"""The elements that are wider than the window and in no part that scrolls by itself."""


def look_at(pages, *, dark):
    """Open pages in a window as wide as a phone."""
    with Browser() as browser:
        for page in pages:
            browser.open(page, 390, 844, dark=dark)
            assert browser.run("document.body.dataset.mdColorScheme") == ("slate" if dark else "default"), page
            assert browser.run("document.scrollingElement.scrollWidth") <= 390, page
            assert not browser.run(OVERFLOWING), page
            assert browser.run("[...document.images].every(image => image.naturalWidth)"), page
            assert not browser.complaints, page
        assert not [address for address in browser.requests if not address.startswith(("file:", "data:", "blob:"))]


@pytest.mark.skipif(not EXECUTABLE, reason="needs Chromium")
def test_pages_fit_on_a_phone(site):
    look_at([site / "index.html", site / "design.html"], dark=True)


@pytest.mark.slow
@pytest.mark.skipif(not EXECUTABLE, reason="needs Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_fits_on_a_phone(site, dark):
    look_at([path for path in site.rglob("*.html") if path.name != "404.html"], dark=dark)


def test_the_map_of_papers_leads_to_the_code(site):
    text = (site / "papers.html").read_text(encoding="utf-8")
    assert "reference/api/zoo.html#convwright.zoo.densenet.DenseLayer" in text
    assert re.search("reference/api/[a-z]+.html#convwright.arch.operators.compound", text)
    zoo = (site / "reference/api/zoo.html").read_text(encoding="utf-8")
    assert "Source code in <code>src/convwright/zoo/densenet.py</code>" in zoo


def test_no_markdown_is_left_in_a_page(site):
    """Lists in lists need four spaces and a blank line, or their items run together."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<(pre|script|style)\b.*?</\1>", "", text[text.find("<article") :], flags=re.DOTALL)
        assert not re.findall(r"^\s*(?:[-*] |\d+\. |\||#+ |```|:::).*", text, re.MULTILINE), page


def test_every_public_name_and_command_is_described(site):
    names = (site / "reference/api/index.html").read_text(encoding="utf-8")
    modules = {"arch", "callbacks", "explain", "zoo", "__version__"}
    assert not [name for name in set(cw.__all__) - modules if f"convwright.{name}" not in names]
    for words in commands():
        page = (site / "reference/commands" / f"{'-'.join(words)}.html").read_text(encoding="utf-8")
        assert "--help" in page, words


def test_descriptions_that_functions_share_are_in_the_reference(site):
    text = (site / "reference/api/index.html").read_text(encoding="utf-8")
    design = text[text.index('id="convwright.api.designs.design"') :]
    assert "Annotated" not in design[: design.index("doc-section-title")]
    assert "cores_per_task" in design


def test_examples_of_docstrings_are_code(site):
    for page in (site / "reference" / "api").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<blockquote>" not in text, page
        assert "doctest:" not in re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL), page
    text = (site / "reference/api/index.html").read_text(encoding="utf-8")
    assert '<span class="gp">&gt;&gt;&gt; </span>' in text


def test_search_finds_guides_and_names(site):
    found = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    texts = {entry["location"]: entry["title"] + entry["text"] for entry in found}
    assert "Cross-validation" in texts["data.html#cross-validation"]
    assert any(location.startswith("reference/commands/train.html") for location in texts)
    assert (site / "search/search_index.js").is_file(), "pages that are opened as files search in this"

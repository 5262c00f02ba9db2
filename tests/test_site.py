"""The documentation site: it builds without a warning, needs no network, and has every public name and command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import convwright as cw
from convwright.cli.main import app

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


def test_search_finds_guides_and_names(site):
    found = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    texts = {entry["location"]: entry["title"] + entry["text"] for entry in found}
    assert "Cross-validation" in texts["data.html#cross-validation"]
    assert any(location.startswith("reference/commands/train.html") for location in texts)
    assert (site / "search/search_index.js").is_file(), "pages that are opened as files search in this"

"""What README and docs point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).exists()]


def test_the_map_of_papers_names_files_and_symbols_that_exist():
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("src/convwright/**/*.py"))
    for name in re.findall(r"`([a-z_]+/[\w/]+\.py)`", text):
        assert (ROOT / name).exists() or (ROOT / "src" / "convwright" / name).exists(), name
    for name in re.findall(r"`([A-Za-z_]+)(?:\.[a-z_]+)?`", text):
        assert re.search(rf"\b{name}\b", sources), name


def test_commands_of_the_readme_exist():
    from convwright.cli.main import COMMANDS, GROUPS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^convwright (\w+)", text, re.MULTILINE))
    assert named == set(COMMANDS) | set(GROUPS)

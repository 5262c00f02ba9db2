"""The pages about folding and kernels: their code runs, and their drawings are what the script writes."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "drawings.py"))
PAGES = ("folding", "kernels")


@pytest.mark.parametrize("name", SCRIPT["DRAWINGS"])
def test_the_drawings_in_the_documentation_are_those_of_the_script(name):
    stored = (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
    assert stored == SCRIPT["drawing"](name)
    assert ElementTree.fromstring(stored).tag.endswith("svg")
    page = (ROOT / "docs" / f"{name.partition('-')[0]}.md").read_text(encoding="utf-8")
    assert f"(images/{name}.svg)" in page


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_the_page_runs(page, capsys):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, f"docs/{page}.md", "exec"), {})

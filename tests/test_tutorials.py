"""The code of the tutorials and of the pages for users of other packages runs as written, in less time."""

import re
import shlex
import traceback
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from convwright.cli import main

from .photos import temple_and_flower

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in ("tutorials", "migrating")
    for path in ROOT.glob(f"docs/{folder}/*.md")
    if path.stem != "extending"  # tests/test_adding.py
)
SHORTER = {
    "/usr/share/tuxpaint/stamps": "stamps",
    "params<=5M, latency<=20ms": "params<=1M",
    "--minutes 10": "--minutes 0.5",
    "densenet_bc_l22_k12": "densenet_bc_l16_k12",
    "epochs=20": "epochs=0.5",
    "epochs=15": "epochs=0.5",
    "epochs=3, seeds=3": "epochs=0.3, seeds=2, rungs=1",
}
"""Changes of durations and sizes."""


def blocks(page):
    """Return language and code of each block of a page that can be run."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(python|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(language, code, title, names):
    """Run a block; return the traceback or the command of a failure, empty if it ran to its end."""
    if language == "python":
        try:
            exec(compile(code, title, "exec"), names)
        except Exception:
            return traceback.format_exc()
        return ""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and (words[0] != "convwright" or main.run(words[1:])):
            return f"{title}: {line}"
    return ""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with photographs of two classes in `photos/`, and of four in `stamps/`."""
    for folder in ("photos", "stamps"):
        (tmp_path / folder).mkdir()
        temple_and_flower(tmp_path / folder)
    for name, other in (("temple", "town"), ("flower", "food")):
        (tmp_path / "stamps" / name).rename(tmp_path / "stamps" / other)
    for name, other in (("town", "vehicles"), ("food", "animals")):
        (tmp_path / "stamps" / other).mkdir()
        for path in (tmp_path / "stamps" / name).iterdir():
            ImageOps.invert(Image.open(path)).save(tmp_path / "stamps" / other / f"{other}-{path.name}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_code_of_the_page_runs(page, workplace):
    names = {"__name__": page.stem}
    for language, code in blocks(page):
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        assert run(language, code, page.name, names) == ""


def test_code_that_fails_would_be_noticed():
    assert "ZeroDivisionError" in run("python", "1 / 0", "a page", {})
    assert run("sh", "convwright show nothing", "a page", {})
    assert run("sh", "make coffee", "a page", {})


def test_every_change_concerns_something():
    code = "\n".join(code for page in PAGES for _, code in blocks(page))
    assert [long for long in SHORTER if long not in code] == []

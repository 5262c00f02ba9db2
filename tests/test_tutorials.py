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
    'network="resnet18", epochs=3': 'network="cifar_resnet8", epochs=0.3',
    "epochs=3, resolution=64": "epochs=1, resolution=32",
    "--epochs 3 --resolution 64": "--network cifar_resnet8 --epochs 0.5",
    "minutes=10": "minutes=0.5",
    "cw.bench(run)": 'cw.bench(run, engine="torch", seconds=0.1)',
    "int8=True": "int8=True, max_drop=100",
}
"""Changes of durations and sizes."""
MINUTES = ("photographs", "autogluon", "ultralytics")
"""Pages whose code takes about a minute: designs, and exports in 8 bits."""


PIECE = re.compile(r"^```(?P<language>python|sh)\n(?P<code>.*?)^```|^\|[^\n]*\| `(?P<cell>[^`\n]*)` \|$", re.M | re.S)
"""A block of code, or a row of a table whose last column is code."""


def blocks(page):
    """Return language and code of each block, and of each row of a table whose last column is code, in order."""
    found = []
    for piece in PIECE.finditer(page.read_text(encoding="utf-8")):
        cell = (piece["cell"] or "").replace(r"\|", "|")
        if piece["language"]:
            found.append((piece["language"], piece["code"]))
        else:
            found.append(("sh" if cell.startswith("convwright ") else "python", cell))
    return found


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
    """A folder with photographs of two classes in `photos/`, of four in `stamps/`, and new ones."""
    for folder in ("photos", "stamps"):
        (tmp_path / folder).mkdir()
        temple_and_flower(tmp_path / folder)
    (tmp_path / "new").mkdir()
    for name in ("picture.jpg", "new/holiday.jpg"):
        Image.open(tmp_path / "photos" / "flower" / "20.png").convert("RGB").save(tmp_path / name)
    for name, other in (("temple", "town"), ("flower", "food")):
        (tmp_path / "stamps" / name).rename(tmp_path / "stamps" / other)
    for name, other in (("town", "vehicles"), ("food", "animals")):
        (tmp_path / "stamps" / other).mkdir()
        for path in (tmp_path / "stamps" / name).iterdir():
            ImageOps.invert(Image.open(path)).save(tmp_path / "stamps" / other / f"{other}-{path.name}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marked(page):
    """Return a page as a parameter; those that take a minute are slow."""
    marks = [pytest.mark.slow] if page.stem in MINUTES else []
    return pytest.param(page, id=f"{page.parent.name}/{page.stem}", marks=marks)


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_the_code_of_the_page_runs(page, workplace):
    names = {"__name__": page.stem}
    for language, code in blocks(page):
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        assert run(language, code, page.name, names) == ""


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/migrating/[!i]*.md")), ids=lambda page: page.stem)
def test_ten_lines_of_the_other_package_have_a_counterpart(page):
    rows = re.findall(r"^\| `.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    nothing = [row for row in rows if "| nothing" in row]
    assert len(rows) >= 10
    assert len(nothing) <= 2
    assert len([code for _, code in blocks(page) if "\n" not in code]) == len(rows) - len(nothing)


def test_code_that_fails_would_be_noticed():
    assert "ZeroDivisionError" in run("python", "1 / 0", "a page", {})
    assert run("sh", "convwright show nothing", "a page", {})
    assert run("sh", "make coffee", "a page", {})


def test_every_change_concerns_something():
    code = "\n".join(code for page in PAGES for _, code in blocks(page))
    assert [long for long in SHORTER if long not in code] == []

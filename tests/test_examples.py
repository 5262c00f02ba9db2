"""The scripts of docs/python.md run as written, on small images and for a short time."""

import ast
import re
import traceback
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from .photos import temple_and_flower

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
SHORTER = {
    "minutes=10": "minutes=0.05",
    "epochs=40": "epochs=0.5",
    "epochs=1.5, seeds=3, workers=2": "epochs=0.5, seeds=1, rungs=1",
    "epochs=10)": "epochs=0.1)",
    "epochs=5": "epochs=0.5",
    "phi=range(4)": "phi=range(2)",
    "count=16": "count=2",
    "cw.bench(run)": "cw.bench(run, seconds=0.1)",
    "densenet_bc_l40_k12": "densenet_bc_l16_k12",
}
"""Changes of durations and sizes."""


NEEDED = {
    "Shipping": ("onnxruntime",),
    "Photographs and ten minutes": ("onnxruntime",),
    "Data before training": ("cleanlab",),
}
"""Packages that a script needs beside those of the plain installation."""


def scripts() -> dict[str, str]:
    """Return the code of each section of the page."""
    sections = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        title: "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with `photos/` and `new/holiday.jpg`, the names that scripts define, and the scripts that have run."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "photos").mkdir()
    for split in ("train", "test"):
        (folder / "photos" / split).mkdir()
        temple_and_flower(folder / "photos" / split)
    for image in (folder / "photos" / "test").glob(
        "*/[01]*.png"
    ):  # the test images are others than the training images
        image.unlink()
    for image in (folder / "photos" / "train").glob("*/2*.png"):
        image.unlink()
    (folder / "new").mkdir()
    Image.open(folder / "photos" / "test" / "flower" / "20.png").convert("RGB").save(folder / "new" / "holiday.jpg")
    return folder, {}, set()


SLOW = {"Shipping"}  # exports and measures in every format


@pytest.mark.parametrize(
    "title", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in scripts()]
)
def test_the_script_runs(title, workplace, monkeypatch, capsys):
    folder, names, done = workplace
    for package in NEEDED.get(title, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(folder)
    for each, code in scripts().items():  # a test that runs alone needs what the scripts before have defined
        left_out = each in done or (each in SLOW and each != title)
        if not left_out and all(find_spec(package) for package in NEEDED.get(each, ())):
            for long, short in SHORTER.items():
                code = code.replace(long, short)
            assert failure_of(code, f"docs/python.md: {each}", names) == ""
            done.add(each)
        if each == title:
            break


def failure_of(code: str, title: str, names: dict[str, object]) -> str:
    """Run a script, and return the traceback of its failure; empty if it ran to its end."""
    try:
        exec(compile(code, title, "exec"), names)
    except Exception:
        return traceback.format_exc()
    return ""


def variables(code: str, context: type[ast.expr_context]) -> set[str]:
    """The variables that a script sets (`ast.Store`) or reads (`ast.Load`)."""
    nodes = ast.walk(ast.parse(code))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def test_no_other_script_needs_a_slow_one():
    """The others run without it."""
    slow: set[str] = set()
    for title, code in scripts().items():
        if title in SLOW:
            slow |= variables(code, ast.Store)
        else:
            assert not slow & variables(code, ast.Load), title


def test_a_script_that_fails_would_be_noticed():
    assert "ZeroDivisionError" in failure_of("1 / 0", "a script", {})


def test_every_change_concerns_something():
    code = "\n".join(scripts().values())
    assert [long for long in SHORTER if long not in code] == []

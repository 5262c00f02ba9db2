"""Data sources of other packages: registered through entry points, checked, and unable to break anything else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from convwright.data import Parts, Source, Split
from convwright.data.registry import _as_source, fault_of
from convwright.errors import ConvwrightError

MODULE = """
import torch
from convwright.data import Parts, Source, Split

def read(offline_only: bool) -> Parts:
    '''Stripes in two directions.'''
    images = torch.zeros(24, 1, 6, 6, dtype=torch.uint8)
    images[:12, :, ::2] = 255
    images[12:, :, :, ::2] = 200
    images += torch.arange(24, dtype=torch.uint8)[:, None, None, None]
    labels = torch.arange(24) // 12
    test = torch.arange(24) % 4 == 0
    classes = ("across", "down")
    return Parts(classes, Split(images[~test], labels[~test]), None, Split(images[test], labels[test]))

SOURCE = Source("24 stripes", read, flip=False)

def three(offline_only):
    return 3

def failing(offline_only):
    raise KeyError("token")

def empty(offline_only):
    return Parts(("a", "b"), Split(torch.zeros(0, 1, 6, 6, dtype=torch.uint8), torch.zeros(0).long()), None, None)
"""


def install(folder: Path, entry_points: str, module: str = MODULE, package: str = "stripes") -> None:
    """Lay out a package as installers do."""
    (folder / f"{package}.py").write_text(module)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[convwright.data]\n{dedent(entry_points)}")


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


def test_sources_of_an_installed_package_are_like_any_other(tmp_path: Path) -> None:
    install(tmp_path, "function = stripes:read\nobject = stripes:SOURCE")
    for name, flip in (("function", True), ("object", False)):
        script = f"import convwright as cw; d = cw.open_data('{name}').dataset(12); print(len(d.test), d.default_flip)"
        opened = run(tmp_path, "-c", script)
        assert (opened.returncode, opened.stdout.split()) == (0, ["6", str(flip)])
    surveyed = run(tmp_path, "-m", "convwright", "data", "object", "--json")
    assert (surveyed.returncode, surveyed.stderr) == (0, "")
    assert json.loads(surveyed.stdout)["counts"] == {"train": [9, 9], "test": [3, 3]}


def test_the_message_about_an_unknown_name_lists_it(tmp_path: Path) -> None:
    install(tmp_path, "stripes = stripes:read")
    done = run(tmp_path, "-m", "convwright", "data", "strips")
    assert done.returncode == 2
    assert "did you mean stripes?" in done.stderr
    assert done.stderr.rstrip().endswith("digits or stripes")


BROKEN = {
    "absent = stripes:absent": "has no attribute 'absent'",
    "gone = no_such_module:read": "No module named 'no_such_module'",
    "digits = stripes:read": "another source has the name 'digits'",
    "Up = stripes:read": "its name must be lower-case letters",
    "number = stripes:__name__": "it must be a function or a convwright.data.Source, not str",
    "kind = stripes:Parts": "it must be a function or a convwright.data.Source, not type",
}
"""Entry points that are left out, with the reasons."""


def test_broken_plug_ins_are_one_line_each_and_break_nothing(tmp_path: Path) -> None:
    install(tmp_path, "\n".join([*BROKEN, "stripes = stripes:read"]))
    built_in = run(tmp_path, "-m", "convwright", "data", "digits", "--json")
    assert (built_in.returncode, built_in.stderr) == (0, "")
    assert json.loads(built_in.stdout)["images"] == 1797
    other = run(tmp_path, "-m", "convwright", "data", "stripes", "--json")
    assert (other.returncode, json.loads(other.stdout)["images"]) == (0, 24)
    lines = other.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for entry_point, reason in BROKEN.items():
        name = entry_point.partition(" ")[0]
        (line,) = [line for line in lines if f"'{name}' of stripes (convwright.data) is left out" in line]
        assert reason in line


FAILING = {
    "three": "it must return convwright.data.Parts, not int",
    "failing": "cannot be read: KeyError: 'token'",
    "empty": "train: 0 images and 0 labels",
}
"""Sources that fail when they are read, with the reasons."""


def test_sources_that_fail_when_they_are_read_are_one_line_each(tmp_path: Path) -> None:
    install(tmp_path, "\n".join(f"{name} = stripes:{name}" for name in FAILING))
    script = (
        "import sys; from convwright.cli import main; sys.exit(10 * sum(main.run(['data', a]) for a in sys.argv[1:]))"
    )
    done = run(tmp_path, "-c", script, *FAILING)
    assert (done.returncode, done.stdout) == (60, ""), "each has status 2"
    lines = done.stderr.splitlines()
    assert len(lines) == len(FAILING)
    for line, (name, reason) in zip(lines, FAILING.items(), strict=True):
        assert f"the data source {name} " in line
        assert reason in line


def images(count: int = 4, channels: int = 3, height: int = 6, width: int = 6, **options: object) -> torch.Tensor:
    return torch.zeros(count, channels, height, width, **({"dtype": torch.uint8} | options))  # type: ignore[call-overload,no-any-return]


LABELS = torch.tensor([0, 1, 0, 1])
GOOD = Split(images(), LABELS)


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        (lambda: Parts(("a", "b"), GOOD, None, None), ""),
        (lambda: Parts(("a", "b"), GOOD, None, Split(images(1), LABELS[:1])), ""),
        (lambda: Parts(("a", "b"), GOOD.choose(torch.tensor([3, 2, 1, 0])), None, None), ""),
        (lambda: Parts(["a", "b"], GOOD, None, None), "classes must be a tuple"),
        (lambda: Parts(("a",), GOOD, None, None), "two classes or more"),
        (lambda: Parts(("a", "b", "c"), GOOD, None, None), "fewer than 2 training images (c)"),
        (lambda: Parts(("a", "b"), None, None, None), "train must be a convwright.data.Split, not NoneType"),
        (lambda: Parts(("a", "b"), Split(images(dtype=torch.float32), LABELS), None, None), "uint8 tensor"),
        (lambda: Parts(("a", "b"), Split(images(channels=4), LABELS), None, None), "1 or 3 channels"),
        (lambda: Parts(("a", "b"), Split(images(width=0), LABELS), None, None), "must have pixels"),
        (lambda: Parts(("a", "b"), Split(images(), LABELS.int()), None, None), "int64"),
        (lambda: Parts(("a", "b"), Split(images(5), LABELS), None, None), "5 images and 4 labels"),
        (lambda: Parts(("a", "b"), Split(images(), LABELS + 1), None, None), "labels must be 0 to 1"),
        (lambda: Parts(("a", "b"), GOOD, None, Split(images(height=8, width=8), LABELS)), "test: images must have the"),
    ],
)
def test_what_a_source_returns_is_checked(parts: Callable[[], Parts], fault: str) -> None:
    found = fault_of(parts())
    assert fault in found
    assert bool(found) == bool(fault)


def test_a_source_is_described() -> None:
    with pytest.raises(ConvwrightError, match="its description must be a text"):
        _as_source(Source(3, lambda offline_only: None))  # type: ignore[arg-type,return-value]

"""The work of opening folders and lists grows at most linearly with their files: counted, not timed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convwright.data import open_dataset
from convwright.data.survey import survey_data

COUNTS = (60, 240)


def calls(work: Callable[[], object]) -> int:
    """Return the number of calls of functions in this thread."""
    found = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def make(root: Path, count: int) -> Path:
    """Write small images of 10 classes, of which every tenth is unreadable, with a list of them."""
    rows = ["path,label,group"]
    for number in range(count):
        path = root / f"class {number % 10}" / f"{number}.pgm"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = bytes(range(number % 200, number % 200 + 16))
        path.write_bytes(b"P5 4 4 255\n" + pixels if number % 10 or number < 30 or number % 20 else b"P5")
        rows.append(f"class {number % 10}/{number}.pgm,class {number % 10},g{number // 10}")
        (path.parent / f"{number}.txt").touch()
    (root / "list.csv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("work", [open_dataset, survey_data], ids=["open", "survey"])
@pytest.mark.parametrize("name", ["", "list.csv"], ids=["folder", "list"])
def test_linear_in_the_files(work: Callable[..., object], name: str, tmp_path: Path) -> None:
    folders = [make(tmp_path / str(count), count) / name for count in COUNTS]
    work(str(make(tmp_path / "first", 60) / name), max_bad=0.5)  # what is done once for a process
    few, many = (calls(lambda folder=folder: work(str(folder), max_bad=0.5)) for folder in folders)  # type: ignore[misc]
    assert many <= 4.5 * few

"""A design that is refused leaves the folders of its user as they were."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.splitting import split_data
from convwright.designing.refused import RACE, WRITTEN, removing_refused
from convwright.errors import ArgumentError, ConvwrightError, DataError, UsageError
from convwright.files import names_in


def photos(folder: Path, classes: int, images: int, *, equal: bool = False) -> Path:
    generator = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(images):
            if not (equal and number):
                pixels = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{number}.png")
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize(
    ("classes", "images", "budget", "message"),
    [
        (1, 9, "macs<=1M", "one class only"),
        (2, 2, "macs<=1M", "too few to split"),
        (2, 30, "params<=10", "too small for every family"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, made: bool, classes: int, images: int, budget, message) -> None:
    data, out = photos(tmp_path / "photos", classes, images), tmp_path / "designs/new"
    if made:
        out.mkdir(parents=True)
    before = tree(tmp_path)
    with pytest.raises(ArgumentError, match=message):
        cw.design(data, budget, minutes=1, out=out, progress=False)
    assert tree(tmp_path) == before


def test_a_wrong_address_of_a_cluster_is_refused_before_any_work(tmp_path) -> None:
    data = photos(tmp_path / "photos", 2, 9)
    before = tree(tmp_path)
    with pytest.raises(ArgumentError, match="cluster: must be `auto`"):
        cw.design(data, minutes=1, cluster="1.2.3", out=tmp_path / "new", progress=False)
    assert tree(tmp_path) == before


def test_data_that_is_mostly_duplicates_is_called_so(tmp_path) -> None:
    data = photos(tmp_path / "photos", 2, 9, equal=True)
    with pytest.raises(ArgumentError, match="too few to split, as 16 are duplicates or near-duplicates of others"):
        cw.design(data, minutes=1, out=tmp_path / "new", progress=False)
    with pytest.raises(DataError, match="16 of 18 images are duplicates or near-duplicates of others"):
        split_data(str(data), (0.8, 0.1, 0.1))


@pytest.mark.parametrize("error", [UsageError("refused"), ConvwrightError("full disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("trained", [False, True])
def test_only_what_a_refused_design_wrote_is_removed(tmp_path, error: BaseException, trained: bool) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".lock").touch()
    before = {*names_in(tmp_path)}
    if trained:
        (tmp_path / RACE).mkdir()

    def design() -> None:
        with removing_refused(tmp_path, before, [tmp_path]):
            for name in (*WRITTEN, "of a user.txt"):
                (tmp_path / name).touch()
            raise error

    with pytest.raises(type(error)):
        design()
    kept = {*before, "of a user.txt"}
    if trained or not isinstance(error, UsageError):
        kept |= {*WRITTEN} | ({RACE} if trained else set())
    assert {*names_in(tmp_path)} == kept


def test_a_design_that_was_there_before_stays(tmp_path) -> None:
    for name in WRITTEN:
        (tmp_path / name).touch()
    with pytest.raises(UsageError), removing_refused(tmp_path, {*names_in(tmp_path)}, []):
        raise UsageError("another budget")
    assert {*names_in(tmp_path)} == {*WRITTEN}


def test_a_design_on_one_machine_needs_no_package_of_databases() -> None:
    code = "import sys; sys.modules['sqlalchemy'] = None; import convwright.designing.design"
    subprocess.run([sys.executable, "-c", code], check=True)

"""Designs that cannot succeed, or fail on the way: one clear line, the right exit status, and nothing lost."""

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.opened import Data
from convwright.designing.examination import open_images
from convwright.designing.request import DesignRequest
from convwright.designing.state import State
from convwright.errors import UsageError

DESIGN = [sys.executable, "-m", "convwright", "design"]


def write_images(folder: Path, **counts: int) -> Path:
    """Write noisy images of a shade for each class, and return the folder."""
    for shade, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            generator = np.random.default_rng((shade, number, len(str(folder.name))))
            pixels = generator.integers(60 * shade, 60 * shade + 90, (24, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def one_class(folder: Path) -> Path:
    return write_images(folder, cats=40)


def two_images_a_class(folder: Path) -> Path:
    return write_images(folder, cats=2, dogs=2, mice=2)


def other_test_classes(folder: Path) -> Path:
    write_images(folder / "train", cats=30, dogs=30)
    write_images(folder / "test", cats=5, horses=5)
    return folder


def enough(folder: Path) -> Path:
    return write_images(folder, cats=40, dogs=40, mice=40)


@pytest.mark.parametrize(
    ("make", "budget", "message"),
    [
        (enough, "macs<=1K", "macs <= 1.00 k is too small for every family; the smallest network, "),
        (enough, "params<=0.1K", "the smallest network, "),
        (one_class, "macs<=1M", "has one class only, cats"),
        (two_images_a_class, "macs<=1M", "6 images in 3 classes are too few"),
        (other_test_classes, "macs<=1M", "has classes that the training data lacks: horses"),
    ],
)
def test_what_cannot_be_designed_is_refused_in_one_line(tmp_path, make, budget: str, message: str) -> None:
    data, out = make(tmp_path / "photos"), tmp_path / "design"
    with pytest.raises(UsageError) as raised:
        cw.design(data, budget, minutes=0.5, out=out, progress=False)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    if make is not enough:  # the folder can be used again, for the right images
        with pytest.raises(UsageError, match="is too small for every family"):
            cw.design(enough(tmp_path / "others"), "macs<=1K", minutes=0.5, out=out, progress=False)


def test_too_little_time_for_an_epoch_says_how_much_would_do(tmp_path) -> None:
    images, labels = np.zeros((400_000, 20, 20), np.uint8), np.arange(400_000) % 10
    data = cw.open_data(images=images, labels=labels, test_images=images[:10], test_labels=labels[:10])
    with pytest.raises(UsageError, match=r"minutes: must be (\d+) or more, not 0\.5: the smallest network cannot be "):
        cw.design(data, minutes=0.5, out=tmp_path / "design", progress=False)


def wait_for_trial(out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the first trial has ended."""
    end = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < end:
        if (out / "state.json").exists() and json.loads((out / "state.json").read_text())["trials"]:
            return
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"no trial has ended: {process.communicate()}")


def finished(out: Path, trials: int) -> None:
    """Check that a design that failed continues to its end without losing a trial."""
    before = json.loads((out / "state.json").read_text())["trials"]
    assert len(before) >= trials
    found = cw.design(resume=out, progress=False)
    assert json.loads((out / "state.json").read_text())["trials"][: len(before)] == before
    assert found.file.exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_folder_that_changes_during_the_race_is_noticed(tmp_path, change: str) -> None:
    data, out = enough(tmp_path / "photos"), tmp_path / "design"
    shutil.copytree(data, tmp_path / "copy")
    command = [*DESIGN, str(data), "--budget", "macs<=1M", "--minutes", "0.75", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as design:
        wait_for_trial(out, design)
        for path in [*(data / "cats").iterdir()][:10]:
            path.unlink()
            if change == "replaced":
                Image.new("RGB", (24, 24)).save(path)
        _, errors = design.communicate(timeout=240)
    assert design.returncode == 2
    last = errors.strip().splitlines()[-1]
    assert "restore the images and resume the design, or start a new design in another folder" in last
    assert "Traceback" not in errors
    shutil.rmtree(data)
    (tmp_path / "copy").rename(data)
    finished(out, trials=1)


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_design_continues(tmp_path) -> None:
    data, out = enough(tmp_path / "photos"), tmp_path / "design"

    def small_files() -> None:  # as on a disk that is nearly full
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    command = [*DESIGN, str(data), "--budget", "macs<=1M", "--minutes", "0.5", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, timeout=240)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "could not be written: File too large; " in last
    assert "continue with convwright design --resume" in last
    assert "Traceback" not in done.stderr
    finished(out, trials=0)


@pytest.mark.parametrize("splits", [("",), ("train", "test")])
def test_files_that_cannot_be_read_are_named(splits, tmp_path) -> None:
    for split in splits:
        enough(tmp_path / "photos" / split)
    broken = tmp_path / "photos" / splits[-1] / "cats" / "broken.png"
    broken.write_bytes(b"no image")
    request = DesignRequest(Data(str(tmp_path / "photos")), None, 60.0, tmp_path / "design")
    request.out.mkdir()
    state, lines = State(request.out, request.to_dict()), []
    open_images(request, state, lines.append)
    assert len(lines) == 1
    assert "broken.png" in lines[0]
    assert any("broken.png" in each.reason for each in state.decisions)

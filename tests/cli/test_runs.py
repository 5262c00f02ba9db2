"""train, evaluate and predict: from images to answers, and every wrong turn on the way."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from convwright.data import SOURCES

NETWORK = "cifar_resnet8|scale:w=0.5"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Real images in folders: scikit-learn's digits 0, 1 and 2 as PNG files."""
    root = tmp_path_factory.mktemp("photos")
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        if label < 3 and number < 400:
            folder = root / ("zero", "one", "two")[label]
            folder.mkdir(exist_ok=True)
            Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((16, 16)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "photos"
    command = [*CONVWRIGHT, "train", "--data", photos, "--network", NETWORK, "--epochs", "10", "--out", path, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["val_accuracy"] > 0.6
    return path


CONVWRIGHT = [sys.executable, "-m", "convwright"]


def test_a_run_directory_holds_all_that_a_run_is(run):
    names = {path.name for path in run.iterdir()}
    assert names == {
        *("config.yaml", "network.json", "classes.json", "data.json", "metrics.csv", "summary.json"),
        *("checkpoints", "model.safetensors", "checksums.json", "training_images.safetensors"),
    }
    assert json.loads((run / "classes.json").read_text())["classes"] == ["one", "two", "zero"]
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["epoch"] == "10.0"


def test_evaluate_tells_accuracy_and_images(run, convwright):
    answer = convwright("evaluate", run, "--json")
    assert answer.status == 0
    facts = json.loads(answer.out)
    assert facts["split"] == "val"
    assert facts["images"] == json.loads((run / "data.json").read_text())["images"]["val"]
    assert facts["accuracy"] == json.loads((run / "summary.json").read_text())["val_accuracy"]
    low, high = facts["interval"]
    assert low < facts["accuracy"] <= high
    assert "95 % interval" in convwright("evaluate", run, "--split", "train").out


def test_predict_names_what_is_in_files(run, photos, convwright):
    files = sorted((photos / "zero").iterdir())[:20]
    answer = convwright("predict", run, *files, "--json", "--top", 2)
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert sum(row["predictions"][0]["class"] == "zero" for row in rows) >= 12
    assert all(len(row["predictions"]) == 2 for row in rows)


def test_predict_goes_on_after_an_unreadable_image(run, photos, tmp_path, convwright):
    good = next((photos / "one").iterdir())
    broken, text = tmp_path / "broken.png", tmp_path / "text.jpg"
    broken.write_bytes(good.read_bytes()[:60])
    text.write_text("not an image")
    answer = convwright("predict", run, broken, good, text, tmp_path / "absent.png")
    assert answer.status == 1
    assert answer.out.startswith(f"{good}: ")
    assert len(answer.out.splitlines()) == 1
    for file in (broken, text, tmp_path / "absent.png"):
        assert f"cannot read {file}" in answer.err
    assert "3 of 4 images could not be read" in answer.message


def test_a_finished_run_is_not_trained_again(run, convwright):
    before = (run / "model.safetensors").stat().st_mtime_ns
    answer = convwright("train", "--resume", run)
    assert answer.status == 0
    assert "already ended" in answer.err
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_a_configuration_repeats_its_run(run, tmp_path, convwright):
    answer = convwright("train", "--config", run / "config.yaml", "--out", tmp_path / "again", "--json")
    assert answer.status == 0
    assert (tmp_path / "again" / "config.yaml").read_text() == (run / "config.yaml").read_text()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_run_without_out_is_named_after_network_and_data(tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = convwright("train", "--data", "digits", "--network", NETWORK, "--epochs", 0.1)
    assert answer.status == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name == "cifar_resnet8-scale-w-0.5-digits"
    assert (made / "model.safetensors").exists()


def test_no_data_is_chosen_without_being_named(tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = convwright("train", "--network", NETWORK, "--epochs", 0.1)
    assert (answer.status, answer.out) == (2, "")
    assert "--data: missing" in answer.message
    assert all(name in answer.message for name in SOURCES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "resnet5O"], "unknown network 'resnet5O'; the nearest are resnet50"),
        (["--network", "resnet50|se"], "malformed operator 'se'"),
        (["--data", "no-such-folder"], "no-such-folder"),
        (["--data", "fashion-mnits"], "did you mean fashion-mnist"),
        (["--epochs", "0"], "--epochs: .*above 0"),
        (["--minutes", "1", "--epochs", "1"], "--minutes"),
        (["--minutes", "-1"], "--minutes: must be above 0"),
        (["--batch-size", "0"], "--batch-size: .*1 to 1000000 or 'auto', not 0"),
        (["--lr", "-1"], "--learning-rate: .*above 0"),
        (["--optimizer", "adam"], "--optimizer: .*'sgd'"),
        (["--val-share", "2"], "--val-share: .*below 1"),
        (["--resolution", "0"], "--resolution: .*1 or more"),
        (["--network", "densenet121", "--no-fit"], "a resolution of 8 is too small"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--resume", "absent"], "absent: no such run directory"),
        (["--resume", "absent", "--minutes", "3"], "--minutes: cannot be combined with resume|--resume: absent"),
    ],
)
def test_wrong_use_of_train(arguments, message, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    data = () if {"--data", "--config", "--resume"} & set(arguments) else ("--data", "digits")
    answer = convwright("train", *data, *arguments)
    assert answer.status == 2
    assert re.search(message, answer.message)
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_learnt_from(tmp_path, convwright):
    (tmp_path / "empty").mkdir()
    answer = convwright("train", "--data", tmp_path / "empty", "--out", tmp_path / "run")
    assert answer.status == 2
    assert "no sub-folders" in answer.message
    (tmp_path / "one" / "cats").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "one" / "cats" / "a.png")
    answer = convwright("train", "--data", tmp_path / "one", "--out", tmp_path / "run")
    assert answer.status == 2
    assert "one class only" in answer.message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_directory_that_is_no_run(command, tmp_path, convwright):
    extra = ["image.png"] if command == "predict" else []
    answer = convwright(command, tmp_path, *extra)
    assert answer.status == 2
    assert "not a run directory: it has no config.yaml" in answer.message


def test_what_lies_in_the_way_is_not_touched(run, tmp_path, convwright):
    answer = convwright("train", "--data", "digits", "--out", run)
    assert answer.status == 2
    assert "already holds a run" in answer.message
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("keep me")
    assert convwright("train", "--data", "digits", "--out", tmp_path / "notes").status == 2
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["a.txt"]


def test_ctrl_c_stops_between_steps_and_resume_goes_on(tmp_path):
    path = tmp_path / "run"
    command = [*CONVWRIGHT, "train", "--data", "digits", "--network", NETWORK, "--epochs", "200", "--out", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _wait_for(path / "metrics.csv")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    last = errors.strip().splitlines()[-1]
    assert "a checkpoint was saved" in last
    assert f"convwright train --resume {path}" in last
    assert "Traceback" not in errors
    assert list((path / "checkpoints").glob("step-*.pt"))
    assert not (path / "summary.json").exists()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} was never written"
        time.sleep(0.05)


def test_images_that_no_memory_holds_are_refused_before_they_are_decoded(convwright, tmp_path):
    answer = convwright("train", "--data", "digits", "--resolution", "99999", "--out", tmp_path / "new")
    assert answer.status == 2
    assert "--resolution: " in answer.message
    assert "would fit" in answer.message
    assert not (tmp_path / "new").exists()

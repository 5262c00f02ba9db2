"""predict on the command line: images from every source, every form of output, and errors."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.data import open_dataset
from convwright.prediction.network import Predictor
from convwright.training.loop import train
from convwright.training.plan import plan


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2)
    train(config, network, data, path)
    return path


def save(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((load_digits().images[number] * 15.9).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Images at several depths, among other files; the working folder is theirs."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "b.JPG", "in/c.png", "in/deep/d.webp", ".hidden/e.png", "in/.f.png")):
        save(tmp_path / "photos" / name, number)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


@pytest.fixture
def predicted(run, convwright):
    """Return the files of the predictions, in order."""

    def predict(*arguments, status=0):
        answer = convwright("predict", run, "--json", *arguments)
        assert answer.status == status, answer.err
        return [json.loads(line)["file"] for line in answer.out.splitlines()]

    return predict


class Piped(io.TextIOWrapper):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")


def test_folders_are_searched_at_any_depth(photos, predicted):
    assert predicted("photos") == ["photos/a.png", "photos/b.JPG", "photos/in/c.png", "photos/in/deep/d.webp"]


def test_folders_that_link_to_themselves_end(photos, predicted):
    (photos / "in" / "loop").symlink_to(photos)
    assert len(predicted("photos")) == 4


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.png", ["photos/a.png"]),
        ("photos/*", ["photos/a.png", "photos/b.JPG", "photos/in/c.png", "photos/in/deep/d.webp"]),
        ("photos/**/*.png", ["photos/a.png", "photos/in/c.png"]),
        ("photos/**", ["photos/a.png", "photos/b.JPG", "photos/in/c.png", "photos/in/deep/d.webp"]),
        ("photos/[ab].*", ["photos/a.png", "photos/b.JPG"]),
    ],
)
def test_patterns(pattern, found, photos, predicted):
    assert predicted(pattern) == found


def test_a_pattern_with_a_suffix_matches_any_file_with_it(photos, predicted):
    (photos / "a.png").rename(photos / "a.scan")
    assert predicted("photos/*.scan") == ["photos/a.scan"]


def test_a_file_whose_name_looks_like_a_pattern(photos, predicted):
    save(photos / "x[1].png")
    assert predicted("photos/x[1].png") == ["photos/x[1].png"]


def test_an_image_from_standard_input(run, photos, monkeypatch, convwright):
    monkeypatch.setattr(sys, "stdin", Piped((photos / "a.png").read_bytes()))
    piped = json.loads(convwright("predict", run, "-", "--json").out)
    named = json.loads(convwright("predict", run, photos / "a.png", "--json").out)
    assert piped["file"] == "-"
    assert piped["predictions"] == named["predictions"]


def test_something_else_from_standard_input(run, monkeypatch, convwright):
    monkeypatch.setattr(sys, "stdin", Piped(b"a.png\n"))
    answer = convwright("predict", run, "-")
    assert answer.status == 1
    assert "cannot read standard input: not an image" in answer.err


@pytest.mark.parametrize(
    "listed", [b"photos/a.png\nphotos/in\n\n", b"photos/a.png\0photos/in", b"photos/a.png\r\nphotos/in"]
)
def test_names_from_standard_input(listed, photos, monkeypatch, predicted):
    monkeypatch.setattr(sys, "stdin", Piped(listed))
    assert predicted("--files-from", "-") == ["photos/a.png", "photos/in/c.png", "photos/in/deep/d.webp"]


def test_names_from_a_file_may_hold_line_breaks(photos, tmp_path, predicted):
    save(photos / "two\nlines.png")
    (tmp_path / "list").write_bytes(b"photos/two\nlines.png\0photos/a.png\0")
    assert predicted("photos/b.JPG", "--files-from", "list") == [
        "photos/b.JPG",
        "photos/two\nlines.png",
        "photos/a.png",
    ]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches_of_any_size_keep_the_order(size, photos, predicted):
    save(photos / "bad.png").write_bytes(b"bad")
    files = [photos / name for name in ("b.JPG", "bad.png", "a.png", "notes.txt", "in/c.png", "bad.png", "a.png")]
    readable = [str(file) for file in files if file.name not in ("bad.png", "notes.txt")]
    assert predicted(*files, "--batch-size", size, status=1) == readable


def test_csv_quotes_what_it_must(run, photos, convwright):
    odd = save(photos / 'a, "b"\nc.png')
    answer = convwright("predict", run, odd, photos / "a.png", "--csv", "--top", 2)
    header, first, second = csv.reader(io.StringIO(answer.out, newline=""))
    assert header == ["file", "class_1", "probability_1", "class_2", "probability_2"]
    assert (first[0], second[0]) == (str(odd), str(photos / "a.png"))
    answer = json.loads(convwright("predict", run, odd, "--json", "--top", 2).out)
    assert answer["file"] == str(odd)
    assert first[1::2] == [found["class"] for found in answer["predictions"]]
    assert [float(cell) for cell in first[2::2]] == pytest.approx(
        [found["probability"] for found in answer["predictions"]], rel=1e-5
    )


def test_a_table_on_a_terminal(run, photos, monkeypatch, convwright):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda self: True)
    lines = convwright("predict", run, photos, "--top", 2).out.splitlines()
    assert lines[0].split() == ["file", "class", "share", "class", "share"]
    assert len(lines) == 5
    start = lines[0].index("class")
    assert start == max(len(line.split("  ")[0]) for line in lines) + 2
    assert all(line[start - 2 : start] == "  " and line[start].isdigit() and line.endswith("%") for line in lines[1:])


def test_more_classes_than_there_are(run, photos, convwright):
    answer = convwright("predict", run, photos / "a.png", "--json", "--top", 1000)
    assert len(json.loads(answer.out)["predictions"]) == 10


def test_names_of_any_bytes(run, photos, convwright):
    save(photos / "plain.png").rename(photos / os.fsdecode(b"caf\xe9\x1b[31m.png"))
    for form in ([], ["--json"], ["--csv"]):
        answer = convwright("predict", run, "photos/caf*.png", *form)
        assert answer.status == 0, answer.err
        assert "caf\\xe9" in answer.out.replace("\\\\", "\\")
    assert "\x1b" not in convwright("predict", run, "photos/caf*.png").out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["empty"], "no images found: empty: no images in this folder"),
        (["photos/*.bmp"], "no images found: photos/*.bmp: no image file matches"),
        ([], "name files, folders or patterns"),
        (["--files-from", "absent"], "--files-from: absent: No such file"),
        (["-", "-"], "standard input can be read once"),
        (["-", "--files-from", "-"], "standard input can be read once"),
        (["photos", "--json", "--csv"], "--json and --csv"),
        (["photos", "--top", "0"], "--top: must be a whole number, 1 to 1000000, not 0"),
        (["photos", "--batch-size", "0"], "--batch-size: must be a whole number, 1 to 1000000, not 0"),
        (["photos", "--device", "abacus"], "no device 'abacus'"),
        (
            ["photos", "--weights", "timm", "--engine", "openvino"],
            "is a run, which has weights of its own",
        ),
    ],
)
def test_wrong_use(names, message, run, photos, convwright):
    (photos.parent / "empty").mkdir()
    answer = convwright("predict", run, *names)
    assert answer.status == 2
    assert message in answer.message
    assert not answer.out


def test_published_weights_run_in_torch_alone(photos, convwright):
    answer = convwright("predict", "efficientnet_lite0", photos, "--weights", "pretrained", "--engine", "openvino")
    assert answer.status == 2
    assert "--engine: an engine runs exported files; with published weights" in answer.message


def test_a_name_that_leads_nowhere_does_not_stop_the_rest(run, photos, convwright):
    (photos.parent / "empty").mkdir()
    answer = convwright("predict", run, "empty", photos / "a.png", "x*.png", "absent.png")
    assert answer.status == 1
    assert len(answer.out.splitlines()) == 1
    assert "convwright: empty: no images in this folder" in answer.err
    assert "convwright: x*.png: no image file matches" in answer.err
    assert "cannot read absent.png: no such file" in answer.err
    assert answer.message.endswith("1 of 2 images could not be read; 2 of the given names matched no image")


def test_predictions_are_printed_batch_by_batch(run, photos, monkeypatch, convwright):
    printed, rank = [], Predictor.rank

    def watched(*arguments):
        printed.append(len(sys.stdout.getvalue().splitlines()))
        return rank(*arguments)

    monkeypatch.setattr(Predictor, "rank", watched)
    assert len(convwright("predict", run, photos, "--batch-size", 1).out.splitlines()) == 4
    assert printed == [0, 1, 2, 3]


def test_a_reader_that_has_seen_enough(run, photos):
    """As `predict ... | head -1`."""
    many = [str(save(photos / f"{number}.png", number)) for number in range(40)]
    command = [sys.executable, "-m", "convwright", "predict", str(run), *many, "--batch-size", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith(many[0])
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode in (0, 141)  # 0 where all fitted into the pipe before it was closed

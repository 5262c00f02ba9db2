"""Runs that are trained from lists of images."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.errors import ArgumentError, ConvwrightWarning

QUICK = {"network": "cifar_resnet8|scale:w=0.25", "batch_size": 8, "progress": False}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A list of 48 images of three classes in groups of four, with weights, and nothing in folders of classes."""
    rng = np.random.default_rng(0)
    rows = ["picture,kind,patient,weight"]
    (tmp_path / "pixels").mkdir()
    for number in range(48):
        pixels = rng.integers(0, 80, (12, 12)) + 80 * (number % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"pixels/{number}.png")
        rows.append(f"pixels/{number}.png,{'abc'[number % 3]},p{number // 4},{1 + number % 2}")
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    return tmp_path / "photos.csv"


COLUMNS = {"path_column": "picture", "label_column": "kind", "group_column": "patient"}


def test_a_run_keeps_its_list_and_columns(photos: Path, tmp_path: Path) -> None:
    run = cw.train(photos, epochs=2, out=tmp_path / "run", seed=3, val_share=0.25, **COLUMNS, **QUICK)
    assert (run.classes, run.data.images["train"] + run.data.images["val"]) == (("a", "b", "c"), 48)
    assert run.data.images["val"] % 4 == 0  # whole groups
    assert run.config.data == str(photos)
    assert {name: getattr(run.config, name) for name in COLUMNS} == COLUMNS
    again = cw.train(config=run.path / "config.yaml", out=tmp_path / "again", progress=False)
    assert again.data.fingerprint == run.data.fingerprint
    assert [row["val_loss"] for row in again.metrics] == [row["val_loss"] for row in run.metrics]
    found = cw.evaluate(run)
    assert found.measures.images == run.data.images["val"]
    whole = cw.evaluate(run, data=cw.open_data(photos, **COLUMNS), split="all")
    assert whole.measures.images == 48
    folder = photos.parent / "folder"
    for number in range(6):
        target = folder / "abc"[number % 3] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((photos.parent / f"pixels/{number}.png").read_bytes())
    assert cw.evaluate(run, data=folder, split="all").measures.images == 6  # without the columns of the list
    page = cw.report([run], tmp_path / "report.html")
    assert page.entries[0].images == run.data.images["val"]


def test_a_run_from_a_list_is_resumed(photos: Path, tmp_path: Path) -> None:
    class Stop:
        def on_validation(self, row: object) -> None:
            raise OSError("stopped")

    options = {"epochs": 3, **COLUMNS, **QUICK}
    with pytest.raises(Exception, match="stopped"):
        cw.train(photos, out=tmp_path / "run", callbacks=[Stop()], **options)
    resumed = cw.resume(tmp_path / "run", progress=False)
    whole = cw.train(photos, out=tmp_path / "whole", **options)
    assert resumed.finished
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


def test_a_list_that_has_changed_is_noticed(photos: Path, tmp_path: Path) -> None:
    run = cw.train(photos, epochs=1, out=tmp_path / "run", **COLUMNS, **QUICK)
    lines = photos.read_text().split("\n")
    photos.write_text("\n".join([*lines[:-2], lines[-2].replace(",b,", ",c,"), lines[-1]]))
    with pytest.warns(ConvwrightWarning, match="has changed since training"):
        cw.evaluate(run)
    photos.unlink()
    with pytest.raises(ArgumentError, match=r"no list .*photos.csv was found"):
        cw.evaluate(run)


def test_several_labels_from_a_list(photos: Path, tmp_path: Path) -> None:
    lines = photos.read_text().split("\n")
    rows = [line.split(",") for line in lines[1:]]
    entries = [{"path": row[0], "labels": [row[1], *(["heavy"] if row[3] == "2" else [])]} for row in rows]
    path = photos.with_name("photos.jsonl")
    path.write_text("\n".join(map(json.dumps, entries)))
    run = cw.train(path, epochs=1, out=tmp_path / "run", **QUICK)
    assert run.data.multi_label
    assert run.classes == ("a", "b", "c", "heavy")
    assert cw.evaluate(run, split="all").to_dict()["images"] == 48


@pytest.mark.parametrize("kinds", [0, 1, 4])
def test_one_line_tells_of_files_that_are_not_used(tmp_path: Path, kinds: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        path = tmp_path / f"photos/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path)
    (tmp_path / "photos/a/.DS_Store").touch()  # of a system: no news
    for number in range(kinds):
        for copy in range(5 - number):
            (tmp_path / f"photos/a/notes{copy}.t{number}").write_text("text")
    plan = cw.prepare(tmp_path / "photos", **QUICK)
    found = [note for note in plan.notes if note.startswith("not used")]
    assert len(found) == bool(kinds)
    if kinds:
        assert "not used: 5 .t0 files: not an image" in found[0]
        assert ("; 5 other files" in found[0]) == (kinds == 4)  # 3 and 2 of the kinds that are not described

"""Data sets of Hugging Face in the studio's folder: shown, unless they name files outside it."""

import json

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("datasets")

import datasets
from PIL import Image

from .test_boundary import client_of

CLASSES = datasets.ClassLabel(names=["dark", "light"])


@pytest.fixture
def root(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def save(folder, *, splits=False):
    """Write a data set with its images in it."""
    columns = {"image": [Image.new("L", (12, 12), 20 * each) for each in range(10)], "label": [0, 1] * 5}
    features = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    data = datasets.Dataset.from_dict(columns, features)
    (datasets.DatasetDict({"train": data, "test": data}) if splits else data).save_to_disk(str(folder))


def save_paths(folder, paths):
    """Write a data set that has only the paths of its images."""
    cells = [{"bytes": None, "path": str(path)} for path in paths]
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": stored, "label": CLASSES})
    columns = {"image": cells, "label": [0, 1] * (len(cells) // 2)}
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(folder))
    info = folder / "dataset_info.json"
    facts = json.loads(info.read_text())
    facts["features"]["image"] = {"_type": "Image"}
    info.write_text(json.dumps(facts))


@pytest.mark.parametrize("splits", [False, True])
def test_a_data_set_in_the_folder_is_listed_shown_and_trained_on(root, monkeypatch, splits):
    monkeypatch.chdir(root)
    save(root / "sets" / "saved", splits=splits)
    client = client_of(root)
    listed = client.get("/api/state").json()["data"]
    assert [name for name in listed if name.startswith("sets")] == ["sets/saved"]
    shown = client.post("/api/data", json={"data": "sets/saved"})
    assert shown.status_code == 200, shown.text
    assert "light" in shown.json()["html"]
    augmented = client.post("/api/augmented", json={"data": "sets/saved", "rotation": 5})
    assert augmented.status_code == 200, augmented.text
    task = client.post("/api/task", json={"kind": "train", "data": "sets/saved"})
    assert task.json()["command"].startswith("convwright train --data sets/saved")


def test_parquet_files_are_data_unless_they_are_links_that_lead_outside(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", root.parent / "cache")
    columns = {"image": [Image.new("L", (12, 12), 20 * each) for each in range(10)], "label": [0, 1] * 5}
    features = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    for place in (root / "set", root.parent / "other", root / "linked"):
        (place / "data").mkdir(parents=True)
    name = "data/train-00000-of-00001.parquet"
    for place in (root / "set", root.parent / "other"):
        datasets.Dataset.from_dict(columns, features).to_parquet(str(place / name))
    (root / "linked" / name).symlink_to(root.parent / "other" / name)
    client = client_of(root)
    assert "set" in client.get("/api/state").json()["data"]
    shown = client.post("/api/data", json={"data": "set"})
    assert (shown.status_code, "light" in shown.json()["html"]) == (200, True)
    assert client.post("/api/data", json={"data": "linked"}).status_code == 422


def test_images_that_are_named_must_be_in_the_folder(root, monkeypatch):
    monkeypatch.chdir(root)
    for place in (root, root.parent):
        for number in range(4):
            Image.new("L", (12, 12), 20 * number).save(place / f"{number}.png")
    save_paths(root / "inside", [root / "0.png", root / "1.png", "2.png", "3.png"])
    save_paths(root / "outside", [root / "0.png", root / "1.png", root / "2.png", root.parent / "3.png"])
    save_paths(root / "above", [root / "0.png", "../1.png"] * 2)
    (root / "4.png").symlink_to(root.parent / "0.png")
    save_paths(root / "linked", ["0.png", "4.png"] * 2)
    client = client_of(root)
    assert client.post("/api/data", json={"data": "inside"}).status_code == 200
    for name in ("outside", "above", "linked"):
        for kind in ("train", "design", "label-errors"):
            answer = client.post("/api/start", json={"kind": kind, "data": name})
            assert answer.status_code == 422, name
        answer = client.post("/api/data", json={"data": name})
        assert answer.status_code == 422
        assert f"start the studio with --allow {root.parent}" in answer.json()["error"]
    allowed = client_of(root, allow=[root.parent])
    assert allowed.post("/api/data", json={"data": "outside"}).status_code == 200


def test_files_of_the_data_set_must_be_in_the_folder(root, monkeypatch):
    monkeypatch.chdir(root)
    save(root.parent / "other", splits=True)
    save(root / "file")
    state = root / "file" / "state.json"
    (stored,) = (root.parent / "other" / "train").glob("*.arrow")
    values = json.loads(state.read_text()) | {"_data_files": [{"filename": str(stored)}]}
    state.write_text(json.dumps(values))
    save(root / "split", splits=True)
    (root / "split" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "../../other/test"]}))
    (root / "damaged").mkdir()
    (root / "damaged" / "state.json").write_text('{"_data_files": [{"filename": 7}]}')
    client = client_of(root)
    for name in ("file", "split"):
        answer = client.post("/api/data", json={"data": name})
        assert (answer.status_code, "outside the studio's folder" in answer.text) == (422, True), answer.text
    answer = client.post("/api/data", json={"data": "damaged"})
    assert "is damaged" in answer.json()["error"]

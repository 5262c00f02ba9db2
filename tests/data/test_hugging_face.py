"""Data sets of Hugging Face: which columns and splits are used, and what is said where that is not clear."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data import decoding, open_dataset
from convwright.errors import ArgumentError, ConvwrightWarning, DataError, UsageError

datasets = pytest.importorskip("datasets")


def images(start: int, count: int = 10) -> list[Image.Image]:
    return [Image.fromarray(np.full((12, 16), start + number, np.uint8)) for number in range(count)]


def saved(path: Path, labels: Any, feature: Any = None, start: int = 0, **more: Any) -> str:
    columns = {"picture": images(start, len(labels)), "kind": labels, **more}
    features = {"picture": datasets.Image(), "kind": feature or datasets.Value("string")}
    features |= {name: datasets.Value("string") for name in more}
    datasets.Dataset.from_dict(columns, datasets.Features(features)).save_to_disk(str(path))
    return str(path)


CLASSES = datasets.ClassLabel(names=["cat", "dog"])


def values(split: Any) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def test_images_and_classes_of_a_folder(tmp_path: Path) -> None:
    data = open_dataset(saved(tmp_path / "set", [0, 1] * 5, CLASSES), resolution=12)
    assert data.classes == ("cat", "dog")
    for split in (data.train, data.val):
        assert [value % 2 for value in values(split)] == split.labels.tolist()
    assert data.train.names is not None
    assert data.train.names[0].startswith("train/")
    assert open_dataset(data.name, resolution=12).fingerprint == data.fingerprint


def test_a_downloaded_repository_of_parquet_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    (tmp_path / "set" / "data").mkdir(parents=True)
    for name, start in (("train-00000-of-00002", 0), ("train-00001-of-00002-0a1b2c", 10), ("test-00000-of-00001", 20)):
        part = datasets.Dataset.from_dict({"image": images(start), "label": [0, 1] * 5}, features)
        part.to_parquet(str(tmp_path / "set" / "data" / f"{name}.parquet"))
    (tmp_path / "set" / "README.md").write_text("A data set.")
    data = open_dataset(str(tmp_path / "set"), resolution=12)
    assert data.classes == ("cat", "dog")
    assert sorted([*values(data.train), *values(data.val)]) == list(range(20))
    assert data.test is not None
    assert values(data.test) == list(range(20, 30))
    (tmp_path / "set" / "data" / "test-00000-of-00001.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"set cannot be loaded: "):
        open_dataset(str(tmp_path / "set"), resolution=12)


def test_splits_by_name_and_a_test_without_labels(tmp_path: Path) -> None:
    parts = {"train": [0, 1] * 5, "validation": [0, 1], "test": [-1, -1], "unsupervised": [0, 0]}
    features = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    whole = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict({"image": images(20, len(labels)), "label": labels}, features)
            for name, labels in parts.items()
        }
    )
    whole.save_to_disk(str(tmp_path / "set"))
    data = open_dataset(str(tmp_path / "set"), resolution=12)
    assert (len(data.train), len(data.val), data.test, data.held_out) == (10, 2, None, False)
    assert data.skipped == (
        "unsupervised: not used, since it is no split train, val or test",
        "test: it has no labels, in 2 rows",
    )


def test_several_labels_of_an_image(tmp_path: Path) -> None:
    path = saved(tmp_path / "one", [[0], [0, 1], [], [1]] * 3, datasets.Sequence(CLASSES))
    data = open_dataset(path, resolution=12)
    assert data.multi_label
    assert data.classes == ("cat", "dog")
    assert int(data.train.labels.sum() + data.val.labels.sum()) == 12


def test_columns_are_named_where_several_may_be_meant(tmp_path: Path) -> None:
    path = saved(tmp_path / "set", ["a", "b"] * 5, mood=["x", "y"] * 5)
    with pytest.raises(ArgumentError, match="labels may be kind or mood"):
        open_dataset(path)
    data = cw.open_data(path, label_column="mood", path_column="picture").dataset(12)
    assert data.classes == ("x", "y")
    with pytest.raises(ArgumentError, match="has no column 'size' of labels; it has kind and mood"):
        cw.open_data(path, label_column="size").dataset(12)
    with pytest.raises(ArgumentError, match="belongs to lists of images"):
        cw.open_data(path, weight_column="mood").dataset(12)


def test_streamed_images_are_those_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "set", [0, 1] * 10, CLASSES)
    cached = open_dataset(path, resolution=9)
    monkeypatch.setattr(decoding, "HELD_BYTES", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)
        streamed = open_dataset(path, resolution=9, cache_gb=0)
    assert torch.equal(cached.train.images, streamed.train.images)
    assert cached.fingerprint == streamed.fingerprint


def test_a_survey_and_a_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "set", [0, 1] * 10, CLASSES)
    assert cw.survey(path).counts == {"train": [10, 10]}
    run = cw.train(path, network="cifar_resnet8", epochs=1, resolution=12, out=tmp_path / "run", progress=False)
    assert run.evaluate(data=path).images == 2


def test_without_the_package_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "set", [0, 1] * 5, CLASSES)
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("convwright.extras.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs datasets: pip install 'convwright\[sources\]'"):
        open_dataset(path)


def test_a_name_without_a_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^hf:nobody/nothing cannot be loaded: .*; without a network") as caught:
        open_dataset("hf:nobody/nothing", offline_only=True)
    assert "\n" not in str(caught.value)


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "set", [0, 1] * 5, CLASSES)
    next(Path(path).glob("*.arrow")).write_bytes(b"damaged")
    with pytest.raises(DataError, match="set cannot be loaded: ") as caught:
        open_dataset(path)
    assert "\n" not in str(caught.value)

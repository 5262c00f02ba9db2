"""Features of a frozen backbone: computed once, and shared by runs where that is asked for."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import convwright as cw
from convwright.data import Dataset, open_dataset
from convwright.modules import build
from convwright.training import feature_cache
from convwright.training.backbone import split
from convwright.training.frozen import features_of, has_features, keeping_features

from ..limits import files_up_to


@pytest.fixture(scope="module")
def images():
    return open_dataset("digits")


def backbone(seed: int = 0):
    return split(build(cw.network("cifar_resnet8|channels:1"), seed=seed))[0].eval()


def test_kept_features_are_those_of_the_same_backbone_and_images(images) -> None:
    fewer = replace(images, train=images.train.choose(torch.arange(100)))
    scaled = replace(images, std=tuple(2 * each for each in images.std))
    expected = features_of(backbone(), images)
    with keeping_features():
        first = features_of(backbone(), images)
        assert has_features(backbone(), images)
        assert features_of(backbone(), images).train.store is first.train.store
        for other, data in ((backbone(1), images), (backbone(), fewer), (backbone(), scaled)):
            assert not has_features(other, data)
            assert features_of(other, data).train.store is not first.train.store
    assert not has_features(backbone(), images)
    assert torch.equal(first.train.store[:], expected.train.store[:])
    assert torch.equal(first.val.store[:], expected.val.store[:])


def test_few_sets_of_features_are_kept(images) -> None:
    with keeping_features():
        for seed in range(feature_cache.MAX_IN_MEMORY + 1):
            features_of(backbone(seed), images)
        kept = [has_features(backbone(seed), images) for seed in range(feature_cache.MAX_IN_MEMORY + 1)]
    assert kept == [False] + [True] * feature_cache.MAX_IN_MEMORY


def computed(folder: Path, images: Dataset, seed: int = 0) -> tuple[Dataset, int]:
    """Return features that are kept in a folder, and for how many images they were computed."""
    done = [0]
    with keeping_features(folder):
        found = features_of(backbone(seed), images, lambda images, total: done.append(images))
    return found, done[-1]


def test_features_in_a_folder_are_computed_once(images, tmp_path) -> None:
    first, count = computed(tmp_path / "features", images)
    assert count == len(images.train) + len(images.val)
    again, count = computed(tmp_path / "features", images)
    assert count == 0
    for name in ("train", "val"):
        one, other = getattr(first, name), getattr(again, name)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    assert computed(tmp_path / "features", images, seed=1)[1] > 0, "another backbone has other features"


@pytest.mark.parametrize("at", [0.0, 0.5, 0.999])
def test_damaged_features_are_computed_again(images, tmp_path, at: float) -> None:
    first, _ = computed(tmp_path / "features", images)
    (file,) = (tmp_path / "features").iterdir()
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged; the features are computed again"):
        again, count = computed(tmp_path / "features", images)
    assert count
    assert torch.equal(first.train.images, again.train.images)
    assert computed(tmp_path / "features", images)[1] == 0


def test_features_in_a_folder_take_limited_space(images, tmp_path, monkeypatch) -> None:
    computed(tmp_path / "features", images)
    size = sum(path.stat().st_size for path in (tmp_path / "features").iterdir())
    monkeypatch.setattr(feature_cache, "MAX_BYTES", 2.5 * size)
    for seed in range(1, 5):
        computed(tmp_path / "features", images, seed)
    assert len([*(tmp_path / "features").iterdir()]) == 2
    assert computed(tmp_path / "features", images, 4)[1] == 0, "the latest is kept"
    monkeypatch.setattr(feature_cache, "MAX_BYTES", size // 2)
    computed(tmp_path / "other", images)
    assert not (tmp_path / "other").exists()


def test_a_folder_that_cannot_be_written_does_not_matter(images, tmp_path) -> None:
    (tmp_path / "features").write_text("a file")
    assert computed(tmp_path / "features", images)[1] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_full_disk_does_not_matter(images, tmp_path) -> None:
    with files_up_to(1000):
        assert computed(tmp_path / "features", images)[1] > 0
    assert not [*(tmp_path / "features").iterdir()]


def test_features_in_memory_take_limited_space(images, monkeypatch) -> None:
    with keeping_features():
        found = features_of(backbone(), images)
        size = sum(each.images.numel() * each.images.element_size() for each in (found.train, found.val))
        monkeypatch.setattr(feature_cache, "MAX_BYTES_IN_MEMORY", int(1.5 * size))
        features_of(backbone(1), images)
        assert [has_features(backbone(seed), images) for seed in (0, 1)] == [False, True]
        monkeypatch.setattr(feature_cache, "MAX_BYTES_IN_MEMORY", size // 2)
        features_of(backbone(2), images)
        assert not has_features(backbone(2), images)

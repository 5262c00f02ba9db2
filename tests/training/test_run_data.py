"""Data of a run opened again: which images are held out, and whose options count."""

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.errors import ArgumentError
from convwright.explain.images import read_images
from convwright.explain.opened import open_networks
from convwright.reporting import measure_runs
from convwright.training.run import Run
from convwright.training.run_data import open_run_data


def make_folder(folder: Path, seed: int) -> Path:
    """Write 20 images in two classes."""
    pixels = torch.randint(256, (20, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    for number, image in enumerate(pixels):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("photos"), 0)


@pytest.fixture(scope="module")
def run(photos: Path) -> Run:
    out = photos.parent / "the-run"
    return cw.train(photos, network="cifar_resnet8", epochs=1, val_share=0.3, seed=5, out=out, progress=False)


def held_out(data: Dataset) -> set[str]:
    """Return the names of the validation images."""
    assert data.val.names
    return set(data.val.names)


def test_the_own_data_has_the_validation_images_of_the_run(run: Run, photos: Path) -> None:
    expected = held_out(open_run_data(run))
    assert len(expected) == 6
    for same in (photos, str(photos), Data(str(photos)), Data(f"{photos}/../{photos.name}", val_share=0.5, seed=1)):
        assert held_out(open_run_data(run, same)) == expected
        drawn = read_images(open_networks(run), None, same, 20)
        assert set(drawn.names) == expected
    assert cw.evaluate(run, data=Data(str(photos)), split="val").images == 6


def test_other_data_keeps_its_options(run: Run, tmp_path: Path) -> None:
    other = Data(str(make_folder(tmp_path / "other", 1)), val_share=0.5, seed=1)
    assert held_out(open_run_data(run, other)) == held_out(other.dataset(16))
    assert cw.evaluate(run, data=other, split="val").images == 10
    assert len(read_images(open_networks(run), other, count=20)) == 10
    comparison = cw.compare(run, run, data=other, split="val")
    assert comparison.images == 10
    (tmp_path / "other" / "a" / "broken.png").write_bytes(b"no image")
    strict = replace(other, max_bad=0.0)
    for fails in (lambda: cw.evaluate(run, data=strict), lambda: measure_runs([run], data=strict, latency=False)):
        with pytest.raises(cw.ConvwrightError, match=r"broken\.png"):
            fails()


def test_a_run_finds_the_arrays_that_it_was_trained_on_while_they_exist(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    labels = ["cat", "dog"] * 20
    data = cw.open_data(images=pixels, labels=labels)
    run = cw.train(data, network="cifar_resnet8", epochs=0.5, fused=False, out=tmp_path / "run", progress=False)
    expected = cw.evaluate(run.path).accuracy
    del data, run
    gc.collect()
    with pytest.raises(ArgumentError, match=r"^data: .*open them again and pass them as data"):
        cw.evaluate(tmp_path / "run")
    again = cw.open_data(images=pixels, labels=labels)
    assert cw.evaluate(tmp_path / "run", data=again).accuracy == expected

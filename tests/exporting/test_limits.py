"""Which limits an exported file and its run have, and when they have none."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.engines.registry import open_file
from convwright.errors import ArgumentError, ConvwrightWarning, ImagesChangedError
from convwright.exporting import check_images, limits_outputs
from convwright.prediction.network import load
from convwright.prediction.stored_limits import NAME, read_limits
from convwright.stats.limits import FEWEST, energy, fit_limits

from ..subjects import trained_run

pytest.importorskip("onnxruntime")
INT8 = {"int8": True, "max_drop": 100, "input": "tensor"}


@pytest.fixture
def run(tmp_path):
    """A run on the digits whose limits have not been fitted."""
    unfitted = shutil.ignore_patterns(NAME, "picked")
    return Path(shutil.copytree(trained_run(), tmp_path / "run", ignore=unfitted))


def folder_run(folder, images, val_share):
    """Train for one epoch on a folder with so many images of each of three digits."""
    test = cw.open_data("digits").dataset().test
    for label in range(3):
        (folder / "photos" / str(label)).mkdir(parents=True)
        for number, pixels in enumerate(test.images[test.labels == label][:images, 0].numpy()):
            Image.fromarray(pixels).save(folder / "photos" / str(label) / f"{number}.png")
    cw.train(
        folder / "photos",
        network="cifar_resnet8|scale:w=0.25|resolution:8",
        epochs=1,
        val_share=val_share,
        out=folder / "run",
        progress=False,
    )
    return folder / "run"


def test_a_file_in_8_bits_has_limits_of_its_own_logits(run, tmp_path):
    done = cw.export(run, tmp_path / "int8.onnx", images=60, **INT8)
    predictor, data = load(run), cw.open_data("digits").dataset()
    check = check_images.of_split(predictor, data, data.val, "validation", 60)
    engine = next(iter(done.card.verified.engines))
    fitted = fit_limits(open_file(done.path, engine).run(check.images), check.labels)
    limits = done.card.limits
    assert limits.images == 60
    assert limits.temperature == pytest.approx(fitted.temperature, rel=1e-4)
    assert limits.thresholds == pytest.approx(fitted.thresholds, rel=1e-4)
    assert limits.energy == pytest.approx(fitted.energy, rel=1e-4)
    of_run, _ = read_limits(run)
    assert limits.temperature != of_run.temperature
    assert of_run.images == len(data.val)


def test_a_file_in_8_bits_that_is_verified_on_few_images_has_no_limits(run, tmp_path):
    done = cw.export(run, tmp_path / "int8.onnx", images=FEWEST - 1, **INT8)
    assert (done.card.limits, done.card.outputs) == (None, ("logits",))


def test_a_run_whose_file_lacks_the_score_goes_without_it_too(run, tmp_path, monkeypatch):
    monkeypatch.setattr(limits_outputs, "TOLERANCE", -1.0)  # as if rounding decided about every score
    limits = cw.export(run, tmp_path / "network.onnx", images=30, input="tensor").card.limits
    assert limits.ood_score is limits.ood_rule is None
    assert read_limits(run) == (limits, None)
    predictor, images = load(run), cw.open_data("digits").dataset().test.images[:30]
    known = [one.known for one in predictor.predict([*images], coverage=0.9)]
    assert known == (energy(predictor.logits(images).numpy()) <= limits.energy).tolist()


def test_few_validation_images_give_no_limits(tmp_path):
    run = folder_run(tmp_path, 12, 0.25)
    done = cw.export(run, tmp_path / "network.onnx", input="tensor")
    assert (done.card.limits, done.card.outputs) == (None, ("logits",))
    with pytest.raises(ArgumentError, match=f"coverage: .*run: prediction sets need {FEWEST} validation images"):
        load(run).find_limits()
    assert not (run / NAME).exists()


def test_images_that_changed_since_the_training_give_no_limits(tmp_path):
    run = folder_run(tmp_path, 30, 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limits = cw.export(run, tmp_path / "a.onnx", images=20, input="tensor").card.limits
    assert limits is not None
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "photos" / "0" / "0.png")
    for name, options in (("int8.onnx", INT8), ("f32.onnx", {"input": "tensor"})):
        with pytest.warns(ConvwrightWarning, match="the file has no limits: .*run: its images are not those"):
            done = cw.export(run, tmp_path / name, images=FEWEST, **options)
        assert done.card.limits is None
        (run / NAME).unlink(missing_ok=True)  # those of the run hold without its images
    with pytest.raises(ImagesChangedError, match="run: its images are not those that it was trained on: "):
        load(run).predict(tmp_path / "photos" / "0" / "1.png", coverage=0.9)
    assert not (run / NAME).exists()

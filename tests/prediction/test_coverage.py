"""Prediction sets: for runs, exported files and on the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save

import convwright as cw
from convwright.errors import ArgumentError, UsageError
from convwright.prediction.network import load
from convwright.prediction.outcomes import PredictionSet
from convwright.prediction.stored_limits import NAME
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

from ..subjects import subject_of, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    cw.train("digits", network="cifar_seresnet8|scale:w=0.25", epochs=2, out=path, progress=False)
    return path


@pytest.fixture(scope="module")
def held(run):
    """Test images of the digits, H x W, and their classes."""
    test = open_run_data(Run.of(run)).test
    return list(test.images.numpy()[:, 0]), test.labels.numpy()


def test_sets_contain_the_true_class_about_as_often_as_promised(run, held):
    images, labels = held
    predictor = load(run)
    for coverage in (0.7, 0.9):
        sets = predictor.predict(images, coverage=coverage)
        assert all(isinstance(one, PredictionSet) and one.coverage == coverage for one in sets)
        right = np.mean([predictor.classes[label] in one.classes for one, label in zip(sets, labels, strict=True)])
        assert right == pytest.approx(coverage, abs=0.06)


def test_the_sets_follow_from_limits_and_logits(run, held):
    images, predictor = held[0][:20], load(run)
    limits = predictor.find_limits()
    logits = predictor.logits(stacked(predictor, images)).numpy()
    for one, shares in zip(predictor.predict(images, coverage=0.95), limits.probabilities(logits), strict=True):
        assert set(one.classes) == {predictor.classes[at] for at in np.flatnonzero(shares >= limits.threshold(0.95))}
        assert list(one.probabilities) == sorted(one.probabilities, reverse=True)


def test_images_unlike_those_trained_on_are_found(run, held, tmp_path):
    """By the run in torch, and by its exported files in every engine."""
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, held[0][0].shape, dtype=np.uint8) for _ in range(20)]
    images = held[0][:60]
    in_torch = load(run).predict([*images, *noise], coverage=0.9)
    assert np.mean([one.known for one in in_torch[:60]]) > 0.8
    assert np.mean([one.known for one in in_torch[60:]]) < 0.5
    for suffix in (".onnx", ".xml", ".safetensors"):
        done = cw.export(run, tmp_path / f"digits{suffix}")
        for engine in done.agreements:
            found = cw.load(done.path, engine=engine).predict([*images, *noise], coverage=0.9)
            assert np.mean([a.known == b.known for a, b in zip(found, in_torch, strict=True)]) > 0.95


def stacked(predictor, images):
    import torch

    return torch.stack([predictor.read(image) for image in images])


def test_limits_are_kept_in_the_run_until_its_weights_change(run, held):
    file = run / NAME
    file.unlink(missing_ok=True)
    fresh = load(run)
    limits, known = fresh.find_limits(), [one.known for one in fresh.predict(held[0], coverage=0.9)]
    arrays, header = contents(file)
    assert load(run).find_limits() == limits
    assert limits.ood_score is not None
    assert [one.known for one in load(run).predict(held[0], coverage=0.9)] == known
    fewer = {name: array for name, array in arrays.items() if name != "means"}
    for damaged in (
        b"{",
        save(arrays, {**header, "weights": "0" * 32}),
        save(arrays, {**header, "limits": "{}"}),
        save(fewer, header),
        save({**arrays, "centre": arrays["centre"][1:]}, header),
    ):
        file.write_bytes(damaged)
        assert load(run).find_limits() == limits
        again, same = contents(file)
        assert same == header
        assert all(np.array_equal(again[name], array) for name, array in arrays.items())


def contents(file):
    """Return the arrays and the header of a safetensors file."""
    with safe_open(file, "numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def test_runs_and_files_give_sets(run, tmp_path, held):
    images = held[0][:5]
    done = cw.export(run, tmp_path / "digits.onnx")
    for predictor in (cw.open_run(run), cw.load(run), cw.load(done.path)):
        sets = predictor.predict(images, coverage=0.9)
        assert [type(one) for one in sets] == [PredictionSet] * 5
        assert "coverage" in sets.to_dict()["predictions"][0]
    one = cw.load(done.path).predict(images[0], coverage=0.99)
    assert one.label == one.classes[0]
    assert cw.load(done.path).find_limits() == done.card.limits


def test_an_empty_set_says_so():
    empty = PredictionSet((), (), "a.png", coverage=0.9, known=False)
    assert str(empty) == "a.png: no class (90% coverage, unlike the training images)"
    assert str(PredictionSet(("cat",), (0.5,), "a.png", coverage=0.99)) == "a.png: cat 50.0% (99% coverage)"
    assert empty.to_dict() == {"file": "a.png", "predictions": [], "coverage": 0.9, "known": False}
    for name in ("label", "probability"):
        with pytest.raises(UsageError, match="the prediction set is empty"):
            getattr(empty, name)


def test_wrong_coverages_are_refused(run, held):
    predictor = load(run)
    for wrong in (0.3, 1, True, "0.9", float("nan")):
        with pytest.raises(ArgumentError, match=r"coverage: must be a number from 0\.5 to 0\.99, not"):
            predictor.predict(held[0][:1], coverage=wrong)
    with pytest.raises(ArgumentError, match="top: a prediction set names all its classes"):
        predictor.predict(held[0][:1], top=3, coverage=0.9)
    alone = subject_of("cifar_resnet8|scale:w=0.25|resolution:8").predictor
    with pytest.raises(ArgumentError, match="coverage: prediction sets need validation images"):
        alone.predict([np.zeros((8, 8, 3), np.uint8)], coverage=0.9)


def test_the_command_prints_sets(run, tmp_path, held):
    Image.fromarray(held[0][0]).save(tmp_path / "a.png")

    def command(*more):
        words = [sys.executable, "-m", "convwright", "predict", str(run), str(tmp_path / "a.png"), *more]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    (found,) = [json.loads(line) for line in command("--coverage", "0.99", "--json").stdout.splitlines()]
    assert found["coverage"] == 0.99
    assert held[1][0] in [int(each["class"]) for each in found["predictions"]]
    assert command("--coverage", "0.99", "--csv").stdout.splitlines()[0] == "file,labels,probabilities,known"
    wrong = command("--coverage", "0.2")
    assert wrong.returncode == 2
    assert "--coverage" in wrong.stderr


def test_files_without_limits_say_so(tmp_path, held):
    done = cw.export(trained_run(), tmp_path / "digits.onnx", limits=False)
    with pytest.raises(ArgumentError, match="the file has no limits; export a run with validation images again"):
        cw.load(done.path).predict(held[0][:1], coverage=0.9)

"""Every probability of a run with fitted limits and of its exported file is the same, calibrated one."""

import csv
import pickle
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.engines.card_reading import read_card
from convwright.engines.selection import FOLDER, EngineSelection, fingerprint, keep_selection, machine_name
from convwright.explain.activation import activation_maps
from convwright.prediction.files import FilePredictor, RunPredictor
from convwright.prediction.network import load
from convwright.prediction.portable import PortablePredictor
from convwright.prediction.run_limits import run_limits
from convwright.prediction.stored_limits import NAME
from convwright.stats.limits import calibration_error, fit_limits, softmax
from convwright.training.run import Run

from ..subjects import trained_run

onnxruntime = pytest.importorskip("onnxruntime")
WITHIN = 1e-4


@pytest.fixture(scope="module")
def run():
    return trained_run()


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    return cw.export(run, tmp_path_factory.mktemp("files") / "digits.onnx", images=40)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of digits, and of an image that shows none."""
    folder, digits = tmp_path_factory.mktemp("pictures"), cw.open_data("digits").dataset().test.images[:6, 0].numpy()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    for number, pixels in enumerate([*digits, noise]):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def outputs(done, pictures):
    """What the file itself returns for each picture, as programs without Convwright run it."""
    session = onnxruntime.InferenceSession(str(done.path))
    names = [port.name for port in session.get_outputs()]
    images = [np.asarray(Image.open(picture).convert("RGB"))[None] for picture in pictures]
    return [dict(zip(names, session.run(names, {"image": image}), strict=True)) for image in images]


def check_same(found, classes, probabilities):
    """Check the probability of each class that is named."""
    shares = dict(zip(classes, probabilities[0], strict=True))
    for label, share in found:
        assert share == pytest.approx(shares[label], abs=WITHIN)


def test_predictions_have_the_probabilities_of_the_file(run, done, pictures, outputs):
    portable = pickle.loads(pickle.dumps(PortablePredictor.of(load(run))))
    predictors = [load(run), cw.load(run), RunPredictor(run, cw.load(done.path)), portable.open(1)]
    predictors += [cw.load(done.path, engine=engine) for engine in done.agreements]
    classes = done.card.classes
    assert np.abs(softmax(outputs[0]["logits"]) - outputs[0]["probabilities"]).max() > 100 * WITHIN
    for predictor in predictors:
        for coverage in (None, 0.99):
            predictions = predictor.predict(pictures, top=None if coverage else len(classes), coverage=coverage)
            for one, found in zip(predictions, outputs, strict=True):
                check_same(one.ranked(), classes, found["probabilities"])
        together = np.asarray(predictor.probabilities(np.stack([np.asarray(predictor.read(one)) for one in pictures])))
        assert together == pytest.approx(np.concatenate([one["probabilities"] for one in outputs]), abs=WITHIN)


def test_served_probabilities_are_those_of_the_file(run, done, pictures, outputs):
    pytest.importorskip("fastapi")
    from ..serving.conftest import client_of

    with client_of([f"file={done.path}", f"run={run}"]) as client:
        for name, options in product(("file", "run"), ({"top": 10}, {"coverage": 0.99})):
            for picture, found in zip(pictures, outputs, strict=True):
                sent = {"image": picture.read_bytes()}
                answer = client.post(f"/models/{name}/predict", params=options, files=sent).json()
                shares = [(one["class"], one["probability"]) for one in answer["predictions"][0]["predictions"]]
                check_same(shares, done.card.classes, found["probabilities"])


def test_explanations_and_evaluations_have_the_probabilities_of_the_file(run, done, pictures, outputs, tmp_path):
    maps = cw.explain.cam(run, images=pictures, count=len(pictures)).networks[0].maps
    found = [one["probabilities"][0][target] for one, target in zip(outputs, maps.targets, strict=True)]
    assert maps.probabilities == pytest.approx(found, abs=WITHIN)
    evaluation = cw.evaluate(run, predictions=tmp_path / "predictions.csv")
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    for row, one in zip(rows, outputs[:-1], strict=False):
        assert float(row["probability"]) == pytest.approx(one["probabilities"].max(), abs=WITHIN)
    assert evaluation.temperature == done.card.limits.temperature
    test = cw.open_data("digits").dataset().test
    given = load(run).probabilities(test.images).double().numpy()
    assert evaluation.calibration_error == pytest.approx(calibration_error(given, test.labels.numpy()), abs=WITHIN)
    assert f"temperature {evaluation.temperature:.3g}" in str(evaluation)


def test_a_run_and_its_file_have_the_same_score_and_verdict(run, done, pictures, outputs):
    predictor = load(run)
    limits, ood = run_limits(Run.of(run), predictor)
    assert limits == done.card.limits
    _, scores = predictor._scored([predictor.read(picture) for picture in pictures])
    assert scores == pytest.approx([one["ood_score"][0] for one in outputs], rel=1e-3, abs=1e-3)
    assert ood.rule == limits.ood_rule
    verdicts = [bool(one["known"][0]) for one in outputs]
    assert {*verdicts} == {True, False}
    for model in (run, done.path):
        assert [one.known for one in cw.predict(model, pictures, coverage=0.9)] == verdicts


def test_files_without_limits_have_the_softmax_of_their_logits(run, pictures, tmp_path):
    plain = cw.export(run, tmp_path / "plain.safetensors", limits=False, images=20)
    predictor = FilePredictor(plain.path)
    pixels = np.stack([np.asarray(predictor.read(one)) for one in pictures])
    assert predictor.temperature == 1
    assert predictor.probabilities(pixels) == pytest.approx(softmax(predictor.logits(pixels)), abs=1e-6)


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    """A run that predicts with a file in 8 bits that has no limits, as `bench --select` keeps it."""
    folder = tmp_path_factory.mktemp("selected")
    path = Path(shutil.copytree(trained_run(), folder / "run", ignore=shutil.ignore_patterns(NAME, FOLDER)))
    file = cw.export(path, folder / "int8.onnx", int8=True, max_drop=100, images=20, limits=False, input="tensor").path
    record = EngineSelection(
        file.name, "onnxruntime", "int8", 1, 0.1, 0.5, fingerprint(path), read_card(file).checksum, machine_name()
    )
    keep_selection(path, [file], record)
    return path


def test_a_selected_file_in_8_bits_has_limits_of_its_own_logits(selected, pictures):
    predictor = cw.load(selected)
    assert isinstance(predictor, RunPredictor)
    sets = predictor.predict(pictures, coverage=0.9)
    val = cw.open_data("digits").dataset().val
    logits = predictor.fastest.logits(val.images.numpy())
    fitted = fit_limits(logits, val.labels.numpy())
    limits = predictor.find_limits()
    assert limits.temperature == pytest.approx(fitted.temperature, rel=1e-6)
    assert limits.thresholds == pytest.approx(fitted.thresholds, rel=1e-6)
    assert limits.ood_score == load(selected).find_limits().ood_score
    shares = softmax(
        predictor.fastest.logits(np.stack([predictor.fastest.read(one) for one in pictures])) / limits.temperature
    )
    for one, found in zip(sets, shares, strict=True):
        names = {name for name, share in zip(predictor.classes, found, strict=True) if share >= limits.threshold(0.9)}
        assert {*one.classes} == names
    for again in (predictor, cw.load(selected), pickle.loads(pickle.dumps(PortablePredictor.of(predictor))).open(1)):
        assert again.temperature == limits.temperature
        for one, found in zip(again.predict(pictures, top=10), shares, strict=True):
            check_same(one.ranked(), predictor.classes, [found])
    mapped = activation_maps(predictor, pictures[:1])  # of the network in torch, so with its temperature
    in_torch = load(selected).predict(pictures[0], top=10)
    assert mapped.probabilities[0] == pytest.approx(in_torch.probabilities[0], abs=1e-4)
    stored = selected / FOLDER / NAME
    stored.write_bytes(stored.read_bytes().replace(predictor.fastest.card.checksum.encode(), b"0" * 32))
    assert cw.load(selected).temperature == 1, "limits of another file"

"""Files explain themselves, and return what they do not know."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import convwright as cw
from convwright.engines.card_reading import read_card
from convwright.engines.registry import open_file
from convwright.engines.scored import open_scored
from convwright.engines.whole import open_whole
from convwright.errors import UsageError
from convwright.explain.activation import activation_maps
from convwright.exporting.check_images import photographs, random_weights_calibration
from convwright.exporting.export import export
from convwright.exporting.writing import FORMATS
from convwright.prediction.features import all_features, features_and_logits, fitted_ood
from convwright.prediction.run_limits import Labelled, fit_network_limits
from convwright.stats import ood, ood_selection
from convwright.stats.limits import energy
from convwright.stats.ood_selection import Seen

from ..subjects import check_of, images_for, subject_of

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


@pytest.mark.parametrize("input", ["image", "tensor"])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_the_activation_map_is_that_of_explain(format, input, subject, tmp_path):
    out = tmp_path / f"network{FORMATS[format]}"
    done = export(subject, out, format, check_of(subject), input=input, explain=True)
    assert done.card.outputs == ("logits", "activation_map")
    picture = np.asarray(Image.fromarray(load_sample_images().images[0]).resize((150, 100)))
    pixels = subject.predictor.read(picture)
    given = picture[None] if input == "image" else pixels.numpy()[None]
    for engine in done.agreements:
        assert done.card.verified.engines[engine].details["map_difference"] <= 1e-3
        whole = open_whole(out, engine)
        targets = [None] if (format, engine) == ("onnx", "openvino") else [None, 3, 7]  # which reads a constant there
        for target in targets:
            expected = activation_maps(subject.predictor, [pixels], method="cam", target=target).raw[0]
            (found,) = whole(given, -1 if target is None else target)["activation_map"]
            assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
        alone = open_file(out, engine).run(pixels.numpy()[None])
        assert np.abs(alone - whole(given)["logits"]).max() <= 1e-3 * np.abs(alone).max()


def test_maps_of_batches_are_those_of_each_image(subject, tmp_path):
    out = tmp_path / "network.onnx"
    export(subject, out, "onnx", check_of(subject), explain=True)
    whole, images = open_whole(out, "onnxruntime"), images_for(subject, 3)
    together = whole(images)["activation_map"]
    assert together.shape[0] == 3
    for image, expected in zip(images, together, strict=True):
        assert np.allclose(whole(image[None])["activation_map"][0], expected, atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_the_difference_of_maps_in_8_bits_is_reported(format, subject, tmp_path):
    out = tmp_path / f"network{FORMATS[format]}"
    calibration = random_weights_calibration(subject.predictor)
    done = export(subject, out, format, check_of(subject), explain=True, calibration=calibration)
    differences = [check.details["map_difference"] for check in done.card.verified.engines.values()]
    assert all(0 < difference < 0.5 for difference in differences)
    assert "activation map: largest difference to torch's" in str(done)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("vgg11|scale:w=0.0625|classes:10", "need a head of global pooling and one linear layer, and vgg11"),
        ("mobilenet_v1|resolution:32|scale:w=0.125", "the last feature maps have one pixel"),
    ],
)
def test_heads_without_a_map_are_refused(expression, reason, tmp_path):
    subject = subject_of(expression)
    with pytest.raises(UsageError, match=f"explain: .*{reason}"):
        export(subject, tmp_path / "network.onnx", "onnx", check_of(subject), explain=True)
    with pytest.raises(UsageError, match="explain: the format torch has no further outputs"):
        export(subject, tmp_path / "network.safetensors", "torch", check_of(subject), explain=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_file_returns_what_it_does_not_know(suffix, run, tmp_path):
    done = cw.export(run, tmp_path / f"digits{suffix}")
    limits = done.card.limits
    assert done.card.outputs == ("logits", "probabilities", "prediction_set", "energy", "ood_score", "known")
    assert read_card(done.path).limits == limits
    assert f"temperature {limits.temperature:.3g}: calibration error" in str(done)
    images = [np.full((20, 30, 3), 90, np.uint8), load_sample_images().images[0]]
    for engine in done.agreements:
        whole = open_whole(done.path, engine)
        for image in images:
            found = whole(image[None])
            expected = limits.probabilities(found["logits"])
            assert np.allclose(found["probabilities"], expected, atol=1e-6)
            assert np.array_equal(found["prediction_set"], found["probabilities"] >= np.float32(limits.threshold(0.9)))
            assert found["energy"] == pytest.approx(energy(found["logits"]), abs=1e-4)
            assert found["known"] == (found["ood_score"] <= np.float32(limits.ood_score))


@pytest.mark.parametrize("format", ["onnx", "openvino", "torch"])
@pytest.mark.parametrize(
    ("expression", "features", "rule"),
    [
        *(("cifar_seresnet8|scale:w=0.25|resolution:16|classes:4", 32, rule) for rule in ood.RULES),  # above components
        ("vgg11|scale:w=0.0625|classes:4", 256, "sum"),  # no global pooling: what the last layer reads
    ],
)
def test_scores_are_those_of_torch_for_every_head_and_rule(expression, features, rule, format, tmp_path, monkeypatch):
    monkeypatch.setattr(ood, "MOST_COMPONENTS", 8)
    best = {each: float(each == rule) for each in ood.RULES}
    monkeypatch.setattr(ood_selection, "rule_ratings", lambda *_: best)
    subject = subject_of(expression)
    generator = np.random.default_rng(0)
    crops = photographs(subject.predictor, 80)
    training, check = (
        replace(crops, images=crops.images[part::2], labels=generator.integers(0, 4, 40)) for part in (0, 1)
    )
    out = tmp_path / f"network{FORMATS[format]}"
    held, trained = (Labelled(torch.from_numpy(each.images), each.labels) for each in (check, training))
    done = export(subject, out, format, check, limits=fit_network_limits(subject.predictor, held, trained))
    assert done.card.limits.ood_score is not None
    found, _ = features_and_logits(subject.predictor, torch.from_numpy(check.images))
    assert found.shape == (40, features)
    held = torch.from_numpy(check.images)
    seen = Seen(*all_features(subject.predictor, held), check.labels)
    expected = fitted_ood(subject.predictor, torch.from_numpy(training.images), training.labels, held, seen)
    assert expected.rule == rule == done.card.limits.ood_rule
    for engine in done.agreements:
        logits, scores = open_scored(out, engine)(check.images)
        assert scores == pytest.approx(expected.scores(found, logits), rel=1e-2, abs=1e-2)
        assert logits == pytest.approx(open_file(out, engine).run(check.images), rel=1e-3, abs=1e-3)


def test_limits_are_left_out_where_they_are_not_wanted_or_not_known(run, tmp_path):
    plain = cw.export(run, tmp_path / "a.onnx", limits=False, input="tensor")
    assert (plain.card.limits, plain.card.outputs) == (None, ("logits",))
    in_torch = cw.export(run, tmp_path / "c.safetensors", images=10)
    assert in_torch.card.limits.images > 10
    assert in_torch.card.outputs == ("logits",)

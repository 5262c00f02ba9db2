"""Eight bits: what is left in float is found, what costs too much is refused."""

import io
import logging
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ConvwrightError, NotFiniteError
from convwright.exporting import check_images
from convwright.exporting.agreement import CheckImages, compare, logits_of
from convwright.exporting.export import export
from convwright.exporting.onnx_writer import onnx_model
from convwright.exporting.quantization import (
    GATES,
    LAST,
    Calibration,
    Drop,
    FloatLayers,
    _Onnx,
    _OpenVino,
    groups_of,
    search,
)
from convwright.exporting.quiet import quiet
from convwright.exporting.subject import Subject
from convwright.prediction.network import load

from ..subjects import images_for, subject_of
from ..tiny import TINY


@dataclass
class Coarse:
    """A quantizer of three layers, one of which loses all information in 8 bits."""

    tried: list

    def layers(self):
        return ["stem.conv", "stage1.body.conv", "head.linear"]

    def quantize(self, images, ignored):
        self.tried.append(tuple(ignored))
        return "good" if "stage1.body.conv" in ignored else "bad"

    def runner(self, model):
        return lambda images: np.eye(2, dtype=np.float32)[images[:, 0, 0, 0] % 2 * (model != "bad")]


def test_the_layers_that_lose_are_found():
    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)
    quantizer = Coarse([])
    model, left = search(quantizer, "float", Calibration(images, CheckImages(images, None, "numbers"), 0.01))
    assert (model, left.groups, left.layers, left.lost) == ("good", ("stage1",), ("stage1.body.conv",), 0)
    assert quantizer.tried[0] == ()
    assert len(quantizer.tried) == 4, "all in 8 bits, then each group by itself"


def test_a_search_without_time_leaves_nothing_in_float():
    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)
    quantizer = Coarse([])
    calibration = Calibration(images, CheckImages(images, None, "numbers"), 0.01, search_seconds=0.0)
    model, left = search(quantizer, "float", calibration)
    assert (model, left.groups, quantizer.tried) == ("bad", (), [()])
    assert left.lost > 0.01


def test_layers_with_infinite_logits_in_8_bits_are_found():
    class Overflowing(Coarse):
        def runner(self, model):
            right = np.eye(2, dtype=np.float32)
            return lambda images: right[images[:, 0, 0, 0] % 2] * np.float32("nan" if model == "bad" else 1)

    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)
    model, left = search(Overflowing([]), "float", Calibration(images, CheckImages(images, None, "numbers"), 0.01))
    assert (model, left.groups, left.lost) == ("good", ("stage1",), 0)
    with pytest.raises(NotFiniteError, match="the outputs for 8 of 8 images are NaN or infinite"):
        search(Overflowing([]), "bad", Calibration(images, CheckImages(images, None, "numbers"), 0.01))


def test_layers_are_grouped_by_stage():
    layers = ["stem.conv", "stage1.block1.conv", "stage1.block1.se.conv1", "stage2.conv", "head.linear"]
    assert groups_of(layers) == {
        "stem": ["stem.conv"],
        "stage1": ["stage1.block1.conv"],
        GATES: ["stage1.block1.se.conv1"],
        "stage2": ["stage2.conv"],
        LAST: ["head.linear"],
    }
    assert groups_of(["head.pool", "head.linear/WithoutBiases", "head.linear"]) == {
        "head": ["head.pool"],
        LAST: ["head.linear/WithoutBiases", "head.linear"],
    }


def quantizer_of(format, subject, folder):
    """Return a quantizer of a network, and a function that lists what its models have in 8 bits."""
    model = onnx_model(subject.program, subject.card)
    if format == "onnx":
        return _Onnx(model, folder), lambda made: [node.name for node in made.graph.node if "Quantize" in node.op_type]
    openvino = pytest.importorskip("openvino")
    read = openvino.Core().read_model(io.BytesIO(model.SerializeToString()))
    return _OpenVino(read), lambda made: [
        op.get_friendly_name() for op in made.get_ordered_ops() if op.get_type_name() == "FakeQuantize"
    ]


NETWORKS = ("cifar_seresnet8|scale:w=0.25|resolution:16", TINY["dense-bottleneck"], TINY["mbconv"])


@pytest.mark.parametrize("expression", NETWORKS, ids=["residual", "dense", "mbconv"])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_what_is_left_in_float_has_no_8_bits(format, expression, tmp_path):
    subject = subject_of(expression)
    images = images_for(subject, 4)
    quantizer, in_8_bits = quantizer_of(format, subject, tmp_path)
    layers = quantizer.layers()
    everything = in_8_bits(quantizer.quantize(images, []))
    assert not any(name.startswith("normalisation_") or "images" in name for name in everything), "the mean first"
    assert in_8_bits(quantizer.quantize(images, layers)) == []
    some = [layer for name, group in groups_of(layers).items() if name in ("stem", LAST) for layer in group]
    assert 0 < len(in_8_bits(quantizer.quantize(images, some))) < len(everything)


def test_ranges_hold_the_extremes(run, tmp_path):
    """Ranges that are the mean of images' extremes cut off a third of the largest logits."""
    predictor, data = load(run), open_dataset("digits")
    subject, calibration = Subject(predictor), check_images.calibration(predictor, data)
    for format in ("onnx", "openvino"):
        quantizer, _ = quantizer_of(format, subject, tmp_path)
        logits = logits_of(quantizer.runner(quantizer.quantize(calibration.images, [])), calibration.images)
        expected = logits_of(subject.reference, calibration.images)
        assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max(), format


def test_a_loss_that_is_not_allowed_is_refused():
    logits = np.eye(4, dtype=np.float32)
    left = FloatLayers((), (), 0.0, 0.005)
    nothing = compare(logits, np.full_like(logits, np.nan), np.arange(4))
    assert replace(left, max_drop=1.0).refusal(nothing) == "its logits for 4 images are not finite numbers"
    assert left.refusal(compare(logits, logits, None)) == ""
    message = left.refusal(compare(logits, logits[::-1], np.arange(4)))
    assert message.startswith("8 bits cost 100.00 points of accuracy on 4 images (95 % interval 1")


def agreement(images, only_first, only_second=0):
    """Return the agreement of two networks, one of which alone is right on so many images."""
    logits, labels = np.eye(2, dtype=np.float32)[np.zeros(images, int)], np.zeros(images, int)
    labels[images - only_second :] = 1
    found = logits.copy()
    for index in [*range(only_first), *range(images - only_second, images)]:
        found[index] = [0, 1]
    return compare(logits, found, labels)


@pytest.mark.parametrize(
    ("images", "only_first", "only_second", "expected"),
    [
        (66, 0, 0, Drop.UNDECIDED),
        (66, 1, 0, Drop.UNDECIDED),  # 1.52 points, of a single image
        (66, 12, 0, Drop.EXCEEDED),
        (4, 4, 0, Drop.EXCEEDED),
        (1000, 8, 3, Drop.UNDECIDED),
        (1000, 40, 5, Drop.EXCEEDED),
        (1000, 0, 0, Drop.WITHIN),
        (1000, 0, 20, Drop.WITHIN),
    ],
)
def test_a_loss_is_judged_by_its_interval(images, only_first, only_second, expected):
    left, found = FloatLayers((), (), 0.0, 0.005), agreement(images, only_first, only_second)
    assert left.verdict(found) is expected
    assert bool(left.refusal(found)) is (expected is Drop.EXCEEDED)
    assert f"on {images:,} images (95 % interval " in left.finding(found)


@given(images=st.integers(1, 200), data=st.data())
def test_a_loss_within_what_is_allowed_is_never_refused(images, data):
    only_first = data.draw(st.integers(0, images))
    only_second = data.draw(st.integers(0, images - only_first))
    left, found = FloatLayers((), (), 0.0, 0.01), agreement(images, only_first, only_second)
    assert found.lost is not None
    if found.lost[0] <= 0.01:
        assert left.refusal(found) == ""
    if left.verdict(found) is Drop.WITHIN:
        assert found.lost[2] <= 0.01


def test_without_labels_changed_predictions_are_judged():
    left, found = FloatLayers((), (), 0.0, 0.005), replace(agreement(66, 30), lost=None, accuracy=None)
    assert "points of equal predictions on 66 images" in left.refusal(found)
    assert left.refusal(replace(agreement(66, 1), lost=None)) == ""


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_a_trained_network_keeps_its_accuracy(format, suffix, run, tmp_path):
    predictor, data = load(run), open_dataset("digits")
    check = check_images.of_split(predictor, data, data.val, "validation", 1000)
    calibration = check_images.calibration(predictor, data, max_drop=0.05)
    done = export(Subject(predictor), tmp_path / f"small{suffix}", format, check, calibration=calibration)
    assert done.card.precision == "int8"
    found = done.agreements[{"onnx": "onnxruntime"}.get(format, format)]
    assert found.lost is not None
    assert found.lost[0] <= 0.05
    assert found.difference > 1e-4, "8 bits are not 32"
    assert cw.load(done.path).card.precision == "int8"


def test_too_much_is_refused_and_nothing_written(run, tmp_path):
    predictor, data = load(run), open_dataset("digits")
    check = check_images.of_split(predictor, data, data.val, "validation", 1000)
    calibration = check_images.calibration(predictor, data, max_drop=-1.0)  # not even a gain would do
    calibration = Calibration(calibration.images[:4], CheckImages(check.images[:4], None, "few"), -1.0)
    with pytest.raises(ConvwrightError, match=r"8 bits cost .* more than the -100 allowed"):
        export(Subject(predictor), tmp_path / "small.onnx", "onnx", check, calibration=calibration)
    assert list(tmp_path.iterdir()) == []


def test_calibration_takes_training_images_and_scores_on_others(run):
    predictor, data = load(run), open_dataset("digits")
    calibration = check_images.calibration(predictor, data)
    training = {image.tobytes() for image in data.train.images.numpy()}
    fitting = {image.tobytes() for image in calibration.images}
    scoring = {image.tobytes() for image in calibration.scoring.images}
    assert fitting <= training
    assert scoring <= training
    assert not fitting & scoring


def test_what_a_quantizer_changes_in_the_process_is_undone():
    handlers, level, places = logging.root.handlers[:], logging.root.level, sys.path[:]
    with quiet():
        logging.root.addHandler(logging.NullHandler())
        logging.root.setLevel(1)
        sys.path.append("elsewhere")
    assert (logging.root.handlers, logging.root.level, sys.path) == (handlers, level, places)


def test_predictions_in_8_bits_do_not_depend_on_the_number_of_images(tmp_path):
    """OpenVINO 2026.4 computes single images wrongly where the batch size is open and feature maps have one pixel."""
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    subject = subject_of("efficientnet_lite0|resolution:32|scale:w=0.25")
    check = CheckImages(images_for(subject, 6), None, "noise")
    calibration = Calibration(images_for(subject, 16, seed=4), check, 1.0)
    done = export(subject, tmp_path / "network.xml", "openvino", check, calibration=calibration)
    if done.float_layers.one_image:
        assert "input: uint8, 1 x 3 x 32 x 32" in str(done)
        assert "takes one image at a time" in str(done)
    images, predictor = images_for(subject, 5, seed=2), cw.load(done.path)
    expected = predictor.logits(images)
    for count in (1, 2, 1):
        parts = [predictor.logits(images[at : at + count]) for at in range(0, 5, count)]
        assert np.allclose(np.concatenate(parts), expected, atol=1e-3 * np.abs(expected).max())
    # Another program, which opens the file as it is.
    compiled = openvino.Core().compile_model(str(done.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for image, logits in zip(images, expected, strict=True):
        assert np.allclose(compiled(image[None])[0], logits, atol=1e-3 * np.abs(expected).max())

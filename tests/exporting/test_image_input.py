"""Files whose input is an image of any size crop and resize it as training does."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import convwright as cw
from convwright.data.images import Framing, fitted
from convwright.engines.card_reading import read_card
from convwright.engines.own import OWN_ENGINES
from convwright.engines.parts import IMAGE, PIXELS, network_of_onnx
from convwright.engines.plugins import plugin_engines
from convwright.engines.registry import open_file
from convwright.engines.whole import open_whole
from convwright.errors import ConvwrightError, UsageError
from convwright.exporting import whole_verification
from convwright.exporting.check_images import random_weights_calibration
from convwright.exporting.export import export
from convwright.exporting.image_input import preprocessing
from convwright.exporting.writing import FORMATS

from ..subjects import check_of, images_for, subject_of

onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")


def session_of(resolution, channels, framing, opset=17):
    parts = preprocessing(resolution, channels, framing)
    make, kind = onnx.helper, onnx.TensorProto.UINT8
    ports = (
        [make.make_tensor_value_info(IMAGE, kind, [1, "height", "width", 3])],
        [make.make_tensor_value_info(PIXELS, kind, None)],
    )
    graph = make.make_graph(parts.nodes, "preprocessing", *ports, parts.constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=8 if opset < 19 else 10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def photograph():
    return Image.fromarray(load_sample_images().images[0])


def pictures(count, seed=0):
    """Yield pictures of mixed sizes and proportions: parts of photographs, and noise."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        height, width = (int(np.exp(generator.uniform(0, np.log(900)))) for _ in range(2))
        pixels = (
            generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            if index % 4 == 0
            else load_sample_images().images[index % 2]
        )
        yield Image.fromarray(pixels).resize((width, height))


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize(
    ("resolution", "channels", "crop", "interpolation"),
    [
        (32, 3, 1.0, "bicubic"),
        ((24, 57), 3, 0.875, "bilinear"),
        (48, 1, 0.95, "bicubic"),
        ((61, 20), 1, 1.0, "bilinear"),
    ],
)
def test_the_graph_resizes_as_pillow_does(resize, resolution, channels, crop, interpolation):
    framing = Framing(crop, interpolation, resize)
    session = session_of(resolution, channels, framing)
    for picture in [*pictures(24), Image.new("RGB", (1, 1), "red"), Image.new("RGB", (700, 3)), photograph()]:
        expected = fitted(picture, resolution, channels, framing).astype(int)
        (found,) = session.run(None, {IMAGE: np.asarray(picture)[None]})
        assert found.dtype == np.uint8
        difference = np.abs(found[0] - expected)
        # Blocks of more than 15 x 15 pixels may be rounded otherwise, and Pillow before 13 resizes in another order.
        assert difference.max() <= 1, picture.size
        if max(picture.size) < 40 * min(expected.shape[1:]) and max(picture.size) < 2 * min(picture.size):
            assert difference.max() == 0, picture.size


@pytest.mark.parametrize("opset", [13, 22])
def test_the_graph_is_right_in_every_opset(opset):
    session = session_of(40, 3, Framing(), opset)
    for picture in (photograph(), photograph().resize((30, 41))):
        (found,) = session.run(None, {IMAGE: np.asarray(picture)[None]})
        assert np.array_equal(found[0], fitted(picture, 40, 3, Framing()))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_file_gives_the_same_answer_for_whole_images(format, int8, subject, tmp_path):
    pytest.importorskip("openvino")
    calibration = random_weights_calibration(subject.predictor) if int8 else None
    out = tmp_path / f"network{FORMATS[format]}"
    done = export(subject, out, format, check_of(subject), input="image", calibration=calibration)
    assert (done.card.input, cw.load(out).card.input) == ("image", "image")
    allowed = 2e-2 if int8 else 1e-3
    for engine in done.agreements:
        whole, network = open_whole(out, engine), open_file(out, engine).run
        for picture in pictures(5, seed=3):
            pixels = subject.predictor.read(picture).numpy()[None]
            expected = softmax(network(pixels)[0])
            found = softmax(whole(np.asarray(picture)[None])["logits"][0])
            assert np.abs(found - expected).max() <= allowed
            assert expected.max() - expected[found.argmax()] <= 2 * allowed
        assert done.card.verified.engines[engine].details["whole_difference"] <= allowed


def softmax(logits):
    raised = np.exp(logits.astype(float) - logits.max())
    return raised / raised.sum()


def test_the_network_alone_is_that_of_a_file_with_tensors(subject, tmp_path):
    path, other = tmp_path / "image.onnx", tmp_path / "tensor.onnx"
    card = export(subject, path, "onnx", check_of(subject), input="image").card
    export(subject, other, "onnx", check_of(subject))
    alone = onnx.load(io.BytesIO(network_of_onnx(path.read_bytes(), card)))
    onnx.checker.check_model(alone, full_check=True)
    expected = onnx.load(other)
    assert [node.name for node in alone.graph.node] == [node.name for node in expected.graph.node]
    assert list(alone.graph.input) == list(expected.graph.input)
    assert list(alone.graph.output) == list(expected.graph.output)
    images = images_for(subject, 5)
    assert np.array_equal(
        cw.load(path, engine="onnxruntime").logits(images), cw.load(other, engine="onnxruntime").logits(images)
    )


def test_engines_of_other_packages_get_the_network_alone(subject, tmp_path, monkeypatch):
    seen = []

    def opened(path, card, threads, precision):
        seen.append((card.input, path.name))
        return OWN_ENGINES["onnxruntime"].open(path, card, threads, precision)

    abacus = replace(OWN_ENGINES["onnxruntime"], name="abacus", open=opened)
    plugin_engines.cache_clear()
    monkeypatch.setitem(plugin_engines(), "abacus", abacus)
    done = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject), input="image")
    plugin_engines.cache_clear()
    assert done.problems == {}
    assert "abacus" in done.agreements
    assert seen[-1] == ("tensor", "network.onnx")


def test_a_file_whose_resizing_is_wrong_is_not_written(subject, tmp_path, monkeypatch):
    def mirrored(path, name, whole=open_whole):
        run = whole(path, name)
        return lambda images, explained_class=-1: run(255 - images)

    monkeypatch.setattr(whole_verification, "open_whole", mirrored)
    with pytest.raises(ConvwrightError, match=r"network\.onnx was not written: in \w+, its own resizing changes"):
        export(subject, tmp_path / "network.onnx", "onnx", check_of(subject), input="image")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["onnxruntime", "openvino"])
def test_an_engine_that_resizes_in_another_way_is_left_out(wrong, subject, tmp_path, monkeypatch):
    pytest.importorskip("openvino")

    def mirrored(path, name, whole=open_whole):
        run = whole(path, name)
        return run if name != wrong else lambda images, explained_class=-1: run(255 - images)

    monkeypatch.setattr(whole_verification, "open_whole", mirrored)
    done = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject), input="image")
    assert wrong not in done.agreements
    assert done.agreements
    assert "its own resizing changes" in done.problems[wrong]
    assert wrong in str(done)
    assert wrong not in read_card(tmp_path / "network.onnx").verified.engines


def test_what_cannot_resize_is_refused(subject, tmp_path):
    message = "images of any size are not possible: the format torch is run by Convwright.*use tensor"
    with pytest.raises(UsageError, match=message):
        export(subject, tmp_path / "network.safetensors", "torch", check_of(subject), input="image")
    earlier = subject_of("cifar_resnet8|scale:w=0.25|resolution:8")
    earlier.predictor.framing = Framing(decoder=1)
    with pytest.raises(UsageError, match="trained with an earlier version of the decoder"):
        export(earlier, tmp_path / "network.onnx", "onnx", check_of(earlier), input="image")
    with pytest.raises(UsageError, match=r"whole \.safetensors files"):
        open_whole(tmp_path / "network.safetensors", "onnxruntime")


def test_a_file_with_tensors_is_run_as_it_is(subject, tmp_path):
    path = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject)).path
    images = images_for(subject)
    assert np.array_equal(open_whole(path, "onnxruntime")(images)["logits"], open_file(path, "onnxruntime").run(images))


def test_runs_are_exported_with_images_as_input(run, tmp_path):
    done = cw.export(run, tmp_path / "digits.onnx", images=20)
    assert done.card.input == "image"
    assert "input: an image of any size, uint8, 1 x H x W x 3 (probabilities" in str(done)
    picture = photograph()
    (expected,) = cw.load(run).predict([picture], top=10)
    whole = open_whole(done.path, "onnxruntime")(np.asarray(picture)[None])["probabilities"][0]
    classes = cw.load(done.path).classes
    assert dict(zip(classes, whole, strict=True)) == pytest.approx(dict(expected.ranked()), abs=1e-3)
    tensor = cw.export(run, tmp_path / "tensor.onnx", images=20, input="tensor")
    assert tensor.to_dict()["input"] == "tensor"
    assert "input: uint8, N x 1 x 8 x 8" in str(tensor)
    assert cw.export(run, tmp_path / "a.safetensors", images=20).card.input == "tensor"


def test_the_code_of_the_card_sees_a_transparent_image_as_convwright_does(run, tmp_path, monkeypatch):
    done = cw.export(run, tmp_path / "digits.onnx", images=20)
    picture = photograph().resize((40, 30)).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(tmp_path / "image.png")
    code = (tmp_path / "README.md").read_text().partition("Without Convwright:\n\n```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    found: dict[str, np.ndarray] = {}
    exec(code.replace("image.jpg", "image.png"), found)
    expected = cw.load(done.path).predict(tmp_path / "image.png", top=10)
    classes = cw.load(done.path).classes
    assert dict(zip(classes, found["probabilities"][0], strict=True)) == pytest.approx(
        dict(expected.ranked()), abs=1e-3
    )

"""Exported files predict what the network predicts, hold all they need, and are not written if they do not agree."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.engines import registry as engines
from convwright.engines.card import CHECKSUM_PLACEHOLDER, Card, EngineCheck, Verification
from convwright.engines.card_reading import read_card
from convwright.engines.own import OWN_ENGINES
from convwright.errors import ConvwrightError, NotFiniteError, UsageError
from convwright.exporting import writing
from convwright.exporting.agreement import compare
from convwright.exporting.export import export
from convwright.exporting.onnx_writer import onnx_model
from convwright.exporting.writing import FORMATS
from convwright.prediction.files import FilePredictor

from ..subjects import QUICK_FORMATS, check_of, images_for, subject_of
from ..tiny import TINY

LIGHT = """
import sys
import convwright as cw
prediction = cw.load(sys.argv[1]).predict([sys.argv[2]])[0]
heavy = ("torch", "torchvision", "onnx", "nncf", "sklearn")
print(prediction.classes[0], *(name for name in heavy if name in sys.modules))
"""


@pytest.mark.parametrize("expression", TINY.values(), ids=TINY)
def test_onnx_runtime_computes_what_the_network_computes(expression, tmp_path):
    subject = subject_of(expression)
    done = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject))
    assert done.agreements["onnxruntime"].difference < 1e-5
    predictor = FilePredictor(done.path, "onnxruntime")
    for count in (1, 5):  # any number of images
        images = images_for(subject, count, seed=count)
        assert np.allclose(predictor.logits(images), subject.reference(images), atol=1e-4)


@pytest.mark.parametrize("format", QUICK_FORMATS)
def test_a_file_predicts_as_the_network_it_came_from(format, subject, tmp_path):
    done = export(subject, tmp_path / f"network{FORMATS[format]}", format, check_of(subject))
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in done.files}
    predictor = cw.load(done.path)
    assert isinstance(predictor, FilePredictor)
    assert predictor.classes == subject.predictor.classes
    noise = np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for image in (noise, Image.fromarray(noise)):
        (given,), (expected,) = predictor.predict([image]), subject.predictor.predict([image])
        assert given.classes == expected.classes
        assert given.probabilities == pytest.approx(expected.probabilities, rel=1e-3)
    assert np.array_equal(predictor.read(noise), subject.predictor.read(noise).numpy())
    verified = predictor.card.verified
    assert verified.images == 6
    assert all(check.details["difference"] < 1e-3 for check in verified.engines.values())
    assert cw.Network.from_json(predictor.card.description) == subject.network


def test_a_file_predicts_without_torch(subject, tmp_path):
    path = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject)).path
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(tmp_path / "image.png")
    command = [sys.executable, "-c", LIGHT, str(path), str(tmp_path / "image.png")]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert words[0] == "class"
    assert len(words) == 2, f"loaded {words[2:]}"


def test_every_image_is_compared_with_its_own_logits():
    expected = np.array([[1000.0, 0, 0], [0.9, 0, 0], [2, 0, 0], [1, 0, 0]], np.float32)
    given = expected.copy()
    given[3] = [0.9, 0, 0]
    assert compare(expected, given, None).difference == pytest.approx(0.1, rel=1e-3)
    given[3] = [1, 0, 1e-4]
    assert compare(expected, given, None).within_rounding


def test_predictions_may_change_in_ties_only():
    expected = np.full((4, 3), 10, np.float32) + np.array([0, 1e-3, 0], np.float32)
    given = np.full((4, 3), 10, np.float32)
    found = compare(expected, given, None)
    assert (found.same, found.changed, found.within_rounding) == (0, 1, False)
    assert found.difference < 1e-3, "though the difference is small"
    expected[:, 1] = 10 + 1e-5
    assert compare(expected, given, None).within_rounding


def other_writing(monkeypatch, change):
    """Let the second writing of an ONNX file, that with the card, go wrong."""
    content, written = writing._onnx_file, []

    def twice(model, card):
        if written:
            change(model)
        written.append(card)
        return content(model, card)

    monkeypatch.setattr(writing, "_onnx_file", twice)


def test_what_is_published_is_what_was_verified(subject, tmp_path, monkeypatch):
    def spoil(model):
        weights = next(array for array in model.graph.initializer if "weight" in array.name)
        weights.raw_data = bytes(len(weights.raw_data))

    other_writing(monkeypatch, spoil)
    with pytest.raises(ConvwrightError, match=r"network\.onnx was not written: onnxruntime gives different outputs"):
        export(subject, tmp_path / "network.onnx", "onnx", check_of(subject))
    assert list(tmp_path.iterdir()) == []


def unable(monkeypatch, name):
    """Let an engine read no file."""

    def fail(path, *_):
        raise RuntimeError(f"unknown operation in {path}")

    monkeypatch.setitem(OWN_ENGINES, name, replace(OWN_ENGINES[name], open=fail))


def test_an_engine_that_cannot_run_the_file_is_reported(subject, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    out = tmp_path / "network.onnx"
    unable(monkeypatch, "openvino")
    done = export(subject, out, "onnx", check_of(subject))
    assert list(done.agreements) == ["onnxruntime"]
    assert done.problems == {"openvino": f"{out}: openvino cannot run it: unknown operation in {out}"}
    assert list(done.card.verified.engines) == ["onnxruntime"]
    out.unlink()
    unable(monkeypatch, "onnxruntime")
    with pytest.raises(ConvwrightError, match=r"network\.onnx was not written: .*onnxruntime cannot run it") as message:
        export(subject, out, "onnx", check_of(subject))
    assert f"{tmp_path}/." not in str(message.value), "a folder that is gone"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "options", "missing", "message"),
    [
        ("onnx", {"opset": 9}, None, "opset: must be 13 to 22, not 9"),
        ("onnx", {}, "onnx", "writing ONNX files needs onnx: pip install"),
        ("openvino", {}, "openvino", "needs openvino: pip install"),
        ("openvino", {"calibration": "any"}, "nncf", "needs nncf: pip install"),
    ],
)
def test_what_is_missing_is_reported_first(format, options, missing, message, tmp_path, monkeypatch):
    class Waiting:
        @property
        def reference(self):
            pytest.fail("started to run")

    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.setattr("convwright.extras.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=message):
        export(Waiting(), tmp_path / f"network{FORMATS[format]}", format, None, **options)


def test_a_card_is_read_without_an_engine(subject, tmp_path):
    for format in QUICK_FORMATS:
        done = export(subject, tmp_path / f"network{FORMATS[format]}", format, check_of(subject))
        assert read_card(done.path) == done.card
        assert read_card(done.path).verified.engines
    for name, content in (("a.onnx", b"\x7aabc"), ("a.xml", b"<net/>"), ("b.xml", b"<net"), ("a.safetensors", b"1")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=f"{name}: not a "):
            read_card(tmp_path / name)


def test_only_the_fastest_engine_is_opened(subject, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    done = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject))
    best = engines.fastest_engine(done.card.verified, ["onnxruntime", "openvino"])
    (other,) = {"onnxruntime", "openvino"} - {best}
    unable(monkeypatch, other)
    assert cw.load(done.path).logits(images_for(subject)).shape == (3, 10)
    with pytest.raises(UsageError, match="unknown operation"):
        cw.load(done.path, engine=other)


def test_weights_of_another_export_are_reported(subject, tmp_path):
    pytest.importorskip("openvino")
    first = export(subject, tmp_path / "network.xml", "openvino", check_of(subject))
    (weights,) = (path for path in first.files if path.suffix == ".bin")
    values = bytearray(weights.read_bytes())
    values[-1] ^= 1
    weights.write_bytes(values)
    with pytest.raises(UsageError, match=r"network\.xml: network\.bin belongs to another export"):
        cw.load(first.path)


@pytest.mark.parametrize(("name", "format"), [("a.onnx", "onnx"), ("a.safetensors", "torch")])
def test_a_damaged_file_is_reported(name, format, subject, tmp_path):
    out = tmp_path / name
    export(subject, out, format, check_of(subject))
    cw.load(out)
    (tmp_path / "new").touch()
    assert out.stat().st_mode == (tmp_path / "new").stat().st_mode
    content = out.read_bytes()
    for place in (len(content) // 2, len(content) // 3):
        out.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        with pytest.raises(UsageError, match=rf"{name}: its checksum is wrong, so it is damaged or was edited"):
            cw.load(out)


def test_logits_that_are_not_finite_are_reported(subject, tmp_path):
    export(subject, tmp_path / "a.onnx", "onnx", check_of(subject))
    predictor = cw.load(tmp_path / "a.onnx")
    predictor.run = lambda images: np.full((len(images), len(predictor.classes)), np.nan, np.float32)
    size = (1, predictor.channels, predictor.resolution, predictor.resolution)
    with pytest.raises(ConvwrightError, match=r"a\.onnx: the outputs for 1 of 1 images are NaN or infinite"):
        predictor.probabilities(np.zeros(size, np.uint8))


@pytest.mark.parametrize("format", QUICK_FORMATS)
def test_a_network_with_infinite_logits_is_not_exported(format, tmp_path):
    subject = subject_of("cifar_resnet8|scale:w=0.25|resolution:8")
    next(subject.predictor.module.parameters()).data[:] = np.nan
    with pytest.raises(NotFiniteError, match="the outputs for 6 of 6 images are NaN or infinite"):
        export(subject, tmp_path / f"network{FORMATS[format]}", format, check_of(subject))
    assert list(tmp_path.iterdir()) == []


def test_an_engine_with_infinite_logits_is_reported(subject, tmp_path, monkeypatch):
    engine = OWN_ENGINES["onnxruntime"]

    def opened(*_):
        return lambda images: np.full((len(images), 10), np.inf, np.float32)

    monkeypatch.setitem(OWN_ENGINES, "onnxruntime", replace(engine, open=opened))
    with pytest.raises(
        ConvwrightError, match=r"onnx was not written: with engine onnxruntime, the network: the outputs for 6 of"
    ):
        export(subject, tmp_path / "network.onnx", "onnx", check_of(subject))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_stands_for_a_checksum_is_refused(tmp_path):
    subject = subject_of("cifar_resnet8|scale:w=0.25|resolution:8")
    subject.predictor.classes = (CHECKSUM_PLACEHOLDER, *subject.predictor.classes[1:])
    with pytest.raises(UsageError, match=f"network.onnx: no class and no layer can be named '{CHECKSUM_PLACEHOLDER}'"):
        export(subject, tmp_path / "network.onnx", "onnx", check_of(subject))


@pytest.mark.parametrize("format", QUICK_FORMATS)
def test_classes_keep_any_name(format, tmp_path):
    subject = subject_of("cifar_resnet8|scale:w=0.25|resolution:8")
    names = (
        "Äpfel",
        "リンゴ",
        'a "quoted" <name> & more',
        "tab\tand\nline",
        "\udcff",
        "\ufffe",
        "\x01",
        "&#0;",
        "]]>",
        " ",
    )
    subject.predictor.classes = names
    done = export(subject, tmp_path / f"network{FORMATS[format]}", format, check_of(subject))
    assert cw.load(done.path).classes == names


def test_a_symbolic_link_stays_one(subject, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, out = tmp_path / "elsewhere" / "kept.onnx", tmp_path / "network.onnx"
    target.write_text("before")
    out.symlink_to(target)
    export(subject, out, "onnx", check_of(subject))
    assert out.is_symlink()
    assert cw.load(target).classes == subject.predictor.classes


def test_a_file_that_does_not_agree_is_not_written(tmp_path):
    subject = subject_of(TINY["residual-basic"])
    _ = subject.program  # as the weights are now
    with np.errstate(all="ignore"):
        next(subject.predictor.module.parameters()).data.mul_(1.5)
    with pytest.raises(ConvwrightError, match=r"was not written: in onnxruntime its logits differ"):
        export(subject, tmp_path / "network.onnx", "onnx", check_of(subject))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_existing_file(subject, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_text("before")
    with pytest.raises(UsageError, match="opset: must be 13 to 22, not 9"):
        export(subject, path, "onnx", check_of(subject), opset=9)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("opset", [13, 17, 22])
def test_every_opset_that_is_offered_is_right(opset):
    onnxruntime = pytest.importorskip("onnxruntime")
    subject = subject_of("mobilenet_v1|resolution:32|scale:w=0.125")
    model = onnx_model(subject.program, subject.card, opset)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = images_for(subject)
    assert np.allclose(session.run(None, {"images": images})[0], subject.reference(images), atol=1e-4)


@pytest.mark.parametrize("function", ["relu6", "silu", "hardswish", "hardsigmoid", "gelu", "tanh", "sigmoid"])
@pytest.mark.parametrize("opset", [13, 20])
def test_every_activation_is_written(function, opset):
    import onnxruntime
    import torch

    from convwright.engines import program as steps
    from convwright.engines.torch_program import TorchProgram

    ops = (
        steps.Affine("centre", (0,), 1, np.full(2, 0.1), np.full(2, -10.0)),
        steps.Activate("act", (1,), 2, function),
        steps.Connect("head", (2,), 3, np.eye(8), np.zeros(8)),
    )
    shapes = {0: (2, 2, 2), 1: (2, 2, 2), 2: (2, 2, 2), 3: (8, 1, 1)}
    program = steps.Program("one", ops, shapes, 3)
    card = Card("one", ("a",) * 8, 2, 2, (0.0,) * 2, (1.0,) * 2, 1.0, "bicubic")
    images = np.arange(0, 256, 255 // 15, dtype=np.uint8)[:16].reshape(2, 2, 2, 2)
    session = onnxruntime.InferenceSession(
        onnx_model(program, card, opset).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = TorchProgram(program)(torch.from_numpy(images)).numpy()
    assert np.allclose(session.run(None, {"images": images})[0], expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("network.pb", "onnx", r"a file in the format onnx ends in \.onnx"),
        (
            "network.onnx",
            "keras",
            "format: must be onnx or openvino or torch or litert or executorch or coreml, not 'keras'",
        ),
    ],
)
def test_wrong_names(name, format, message, subject, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(subject, tmp_path / name, format, check_of(subject))


def test_files_of_other_programs(subject, tmp_path):
    import onnx

    model = onnx_model(subject.program, subject.card)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"damaged")
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")
    for name, message in (
        ("absent.onnx", "no such file"),
        ("other.onnx", "not a file that 'convwright export' wrote"),
        ("damaged.onnx", "not a readable ONNX file"),
        ("damaged.safetensors", "not a readable safetensors file"),
    ):
        with pytest.raises(UsageError, match=message):
            cw.load(tmp_path / name)


def test_a_missing_engine_is_reported_with_the_extra(subject, tmp_path, monkeypatch):
    path = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject)).path
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as Python marks what cannot be imported
    monkeypatch.setattr("convwright.engines.engine.installed", lambda _: False)
    monkeypatch.setattr("convwright.extras.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs onnxruntime: pip install 'convwright\[deploy\]'"):
        cw.load(path)
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"openvino does not read \.safetensors files; torch does"):
        cw.load(tmp_path / "x.safetensors", engine="openvino")


def test_the_fastest_verified_engine_is_used():
    verified = Verification(engines={"onnxruntime": EngineCheck(3.0), "openvino": EngineCheck(2.0)})
    assert engines.fastest_engine(verified, ["onnxruntime", "openvino"]) == "openvino"
    assert engines.fastest_engine(verified, ["onnxruntime"]) == "onnxruntime"
    assert engines.fastest_engine(Verification(), ["onnxruntime"]) is None


def test_agreement_counts_pairs():
    expected = np.eye(4, dtype=np.float32)
    given = expected.copy()
    given[0] = [0, 2, 0, 0]
    found = compare(expected, given, np.array([0, 1, 2, 0]))
    assert (found.reference, found.accuracy, found.same, found.difference) == (0.75, 0.5, 0.75, 2.0)
    assert found.lost is not None
    assert found.lost[0] == 0.25
    assert not found.within_rounding
    assert not replace(found, difference=1e-6).within_rounding, "a quarter of the predictions changed"
    assert replace(found, difference=1e-6, changed=0.0).within_rounding
    assert not compare(expected, np.full_like(expected, np.nan), None).within_rounding

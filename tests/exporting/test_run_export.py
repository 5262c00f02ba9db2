"""Exports from Python: what is accepted, what comes back, and how it shows itself."""

import json
import re
from pathlib import Path

import pytest

import convwright as cw
from convwright.display.wording import short_milliseconds
from convwright.errors import ArgumentError, UsageError
from convwright.exporting.run_export import target


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    return cw.export(cw.open_run(run), tmp_path_factory.mktemp("exported") / "digits.onnx", images=30)


def test_an_export_has_files_agreement_and_times(done):
    assert done.files == (done.path,)
    assert done.bytes == done.path.stat().st_size
    assert done.milliseconds.keys() == done.agreements.keys() >= {"onnxruntime"}
    assert all(milliseconds > 0 for milliseconds in done.milliseconds.values())
    assert done.card.verified.images == 30
    assert done.card.classes == tuple("0123456789")


def test_an_export_is_the_same_as_data_text_and_html(done):
    values = done.to_dict()
    assert json.loads(done.to_json()) == json.loads(json.dumps(values))
    assert values["file"] == str(done.path)
    assert values["verified"]["engines"]["onnxruntime"]["milliseconds"] == done.milliseconds["onnxruntime"]
    shown, html = str(done), done._repr_html_()
    for text in ("verified on 30 of", "onnxruntime", short_milliseconds(done.milliseconds["onnxruntime"] / 1000)):
        assert text in shown
        assert text in html
    assert re.search(r"onnxruntime +\d+\.\d+ +100\.00%", shown)
    assert "<table>" in html


def test_a_run_exports_itself(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cw.open_run(run).export(images=5)
    assert result.path.name == "digits.onnx"
    assert result.path.exists()


def test_the_data_may_be_another(run, tmp_path):
    result = cw.export(run, tmp_path / "digits.safetensors", data=cw.open_data("digits"), images=5)
    assert result.selection is None, "a comparison on other images does not change the run"
    assert "torch" in result.agreements


def test_a_network_with_weights_is_exported(run, tmp_path):
    network = cw.open_run(run).network
    result = cw.export(
        network, tmp_path / "copy.onnx", weights=str(run / "model.safetensors"), data="digits", images=20
    )
    assert result.card.network == network.name
    assert result.agreements["onnxruntime"].within_rounding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "a.txt"}, "out: a.txt: end it in"),
        (
            {"format": "tflite"},
            "format: must be 'onnx' or 'openvino' or 'torch' or 'litert' or 'executorch' or 'coreml', not 'tflite'",
        ),
        ({"images": 0}, "images: must be a whole number, 1 to 1000000, not 0"),
        ({"images": "many"}, "images: must be a whole number, 1 to 1000000, not 'many'"),
        ({"max_drop": -1}, "max_drop: must be 0 to 100, not -1"),
        ({"opset": 12}, "opset: must be a whole number, 13 to 22, not 12"),
        ({"max_drop": 0.5}, "max_drop: it limits what quantization costs; it needs `int8`"),
        ({"out": "a.xml", "opset": 17}, "opset: only the format onnx has an opset"),
        ({"format": "openvino", "opset": 17}, "opset: only the format onnx has an opset"),
        ({"out": "a.safetensors", "opset": 17}, "opset: only the format onnx has an opset"),
        ({"int8": "yes"}, "int8: must be true or false, not 'yes'"),
        ({"data": "absent-folder"}, "data: "),
        ({"weights": "pretrained"}, "weights: "),
    ],
)
def test_wrong_arguments_are_named(options, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as raised:
        cw.export(run, **options)
    assert str(raised.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_images_without_data_are_refused(run, tmp_path):
    network, weights = cw.open_run(run).network, str(run / "model.safetensors")
    with pytest.raises(ArgumentError, match=r"^images: a network without data .*; it needs `data`$"):
        cw.export(network, tmp_path / "a.onnx", weights=weights, images=5)


def test_a_quantized_file_reports_its_loss_with_an_interval(run, tmp_path):
    done = cw.export(run, tmp_path / "small.onnx", int8=True, images=60)
    facts = done.to_dict()["verified"]["engines"]["onnxruntime"]
    assert (facts["images"], facts["max_drop"], facts["drop"]) == (60, 0.005, "undecided")
    assert facts["lost"][1] <= facts["lost"][0] <= facts["lost"][2]
    text = " ".join(str(done).split())
    assert "on 60 images (95 % interval " in text
    assert "too few images to show that the loss is at most the 0.5 allowed" in text


def test_text_fits_80_columns(done, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = str(done).split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 80


def test_a_network_is_no_run():
    for value in ("resnet18", cw.network("resnet18")):
        with pytest.raises(ArgumentError, match="weights: resnet18 is a network, not a run directory"):
            cw.export(value)
    with pytest.raises(UsageError, match="no such run directory"):
        cw.export("absent")


@pytest.mark.parametrize(
    ("name", "format", "out", "expected"),
    [
        ("runs/photos", None, None, ("onnx", "photos.onnx")),
        ("resnet50|se:16", "torch", None, ("torch", "resnet50-se-16.safetensors")),
        ("runs/photos", None, "a.xml", ("openvino", "a.xml")),
    ],
)
def test_format_and_file_follow_from_each_other(name, format, out, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = target(name, format, None if out is None else Path(out))
    assert (found[0], str(found[1])) == expected

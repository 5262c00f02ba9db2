"""A file that no engine can run is reported in one line with the reason."""

import warnings
from dataclasses import replace
from importlib.util import spec_from_file_location

import pytest

from convwright.benchmarking.backends import backends_named
from convwright.engines import onnxruntime_gpu
from convwright.engines.card import EngineCheck, Verification
from convwright.engines.card_reading import read_card
from convwright.engines.own import OWN_ENGINES
from convwright.engines.registry import open_file
from convwright.errors import ConvwrightError, UsageError
from convwright.exporting.export import export
from convwright.exporting.quantization import Calibration
from convwright.exporting.writing import FORMATS, draft, write_draft

from ..subjects import QUICK_FORMATS, check_of, images_for, subject_of, with_new_checksum

pytest.importorskip("openvino")


def test_weights_that_are_not_beside_are_reported(subject, tmp_path):
    path = export(subject, tmp_path / "network.xml", "openvino", check_of(subject)).path
    path.with_suffix(".bin").unlink()
    with pytest.raises(UsageError, match=r"network\.xml: its weights are not beside it: there is no network\.bin"):
        open_file(path, "openvino")


def test_a_wrong_file_is_reported_without_places_in_an_engines_source(subject, tmp_path):
    path = export(subject, tmp_path / "network.xml", "openvino", check_of(subject)).path
    with_new_checksum(path, lambda content: content.replace(b'type="Convolution"', b'type="Convulsion"'))
    with pytest.raises(UsageError, match=r"network\.xml: openvino cannot run it: ") as raised:
        open_file(path, "openvino")
    assert "Exception from" not in str(raised.value)


@pytest.mark.parametrize("format", QUICK_FORMATS)
def test_a_file_whose_card_is_of_another_network_is_refused(format, subject, tmp_path):
    path = tmp_path / f"network{FORMATS[format]}"
    other = subject_of("cifar_seresnet8|scale:w=0.25|resolution:24")
    made = draft(subject, format, folder=tmp_path)
    for card in (other.card, replace(subject.card, classes=("one", "another"))):
        write_draft(made, path, card)
        with pytest.raises(UsageError, match=rf"{path.name}: .*its card"):
            open_file(path)


def test_an_error_while_an_engine_runs_is_one_line(subject, tmp_path, monkeypatch):
    path = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject)).path

    def fail(images):
        raise RuntimeError("Exception from src/core.cpp:1\nno room for the maps\nat frame 3")

    engine = OWN_ENGINES["onnxruntime"]
    monkeypatch.setitem(OWN_ENGINES, "onnxruntime", replace(engine, open=lambda *_: fail))
    with pytest.raises(ConvwrightError, match=r"network\.onnx: onnxruntime cannot run it: no room for the maps$"):
        open_file(path, "onnxruntime").run(images_for(subject))


@pytest.mark.parametrize(
    ("name", "provider", "missing"),
    [("tensorrt", "Tensorrt", "install TensorRT"), ("onnxruntime-cuda", "CUDA", "install onnxruntime-gpu instead")],
)
def test_providers_for_gpus_are_found_by_their_library_and_refused_with_the_reason_elsewhere(
    name, provider, missing, subject, tmp_path, monkeypatch
):
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(
        onnxruntime_gpu, "find_spec", lambda name: spec_from_file_location(name, package / "__init__.py")
    )
    lacks = OWN_ENGINES[name].lacks.__wrapped__
    monkeypatch.setitem(OWN_ENGINES, name, replace(OWN_ENGINES[name], lacks=lacks))
    path = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject)).path
    with pytest.raises(UsageError, match=rf"(?i)network\.onnx: {name} cannot run it: .*has no {provider} provider"):
        open_file(path, name)
    with pytest.raises(UsageError, match=f"engine: {name} cannot be used here: .*{missing}"):
        backends_named([name])
    assert name not in [backend.name for backend in backends_named(None)]
    (package / "capi" / f"libonnxruntime_providers_{provider.lower()}.so").write_text("")
    assert [backend.name for backend in backends_named([name])] == [name]
    # A provider that cannot start must not become the CPU without a message.
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(UsageError, match=f"{provider}ExecutionProvider did not start, and ONNX Runtime would use CPUE"),
    ):
        open_file(path, name)


def test_tensorrt_runs_only_where_it_is_named(subject, tmp_path, monkeypatch):
    path = export(subject, tmp_path / "network.onnx", "onnx", check_of(subject)).path
    found = replace(OWN_ENGINES["tensorrt"], lacks=str, open=OWN_ENGINES["onnxruntime"].open)
    monkeypatch.setitem(OWN_ENGINES, "tensorrt", found)  # as if it were here
    engines = {"tensorrt": EngineCheck(0.001), "onnxruntime": EngineCheck(1.0)}
    monkeypatch.setattr(
        "convwright.engines.registry.read_card",
        lambda path: replace(read_card(path), verified=Verification(engines=engines)),
    )
    assert open_file(path).engine == "onnxruntime"
    assert open_file(path, "tensorrt").engine == "tensorrt"


def test_a_compilation_that_crashes_is_an_error_of_one_line(tmp_path, monkeypatch):
    """OpenVINO 2026.4 ends the process with a segmentation fault for some networks in 8 bits."""
    subject = subject_of("cifar_seresnet8|scale:w=0.25|resolution:16")
    check = check_of(subject, 12)
    calibration = Calibration(images_for(subject, 24, seed=4), check, 1.0)
    monkeypatch.setattr("convwright.engines.openvino_requests._COMPILE", "import os; os.kill(os.getpid(), 11)")
    done = export(subject, tmp_path / "network.onnx", "onnx", check, calibration=calibration)
    assert list(done.card.verified.engines) == ["onnxruntime"]
    with pytest.raises(ConvwrightError, match=r"network\.onnx: openvino cannot run it: it crashes when it compiles"):
        open_file(done.path, "openvino").run(images_for(subject))
    assert open_file(done.path).engine == "onnxruntime"

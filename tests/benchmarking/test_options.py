"""Options of benchmarks: each has an effect in its combination, or is refused."""

from contextlib import nullcontext
from itertools import product

import pytest

import convwright as cw
from convwright.benchmarking.measuring import Measurement
from convwright.benchmarking.roofline import Machine
from convwright.errors import ArgumentError, UsageError

ENGINES = (None, "torch", "torch-folded", "onnxruntime", "openvino")
PRECISIONS = (None, "f32", "int8")


@pytest.fixture(scope="module")
def targets(run, tmp_path_factory):
    """Everything that can be measured, by name."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        "network": cw.network("cifar_resnet8|scale:w=0.25"),
        "file": cw.export(run, folder / "digits.onnx", images=5).path,
        "quantized": cw.export(run, folder / "small.xml", images=5, int8=True, max_drop=100).path,
    }


@pytest.fixture
def _instant(tmp_path, monkeypatch):
    """Measure nothing."""
    module = "convwright.benchmarking.benchmark"

    def measurement(_, setting, *__, **___):
        return Measurement(setting, (0.001,))

    monkeypatch.setattr("convwright.benchmarking.run_bench.measure_machine", lambda count: Machine(count, 1e9, 1e9, {}))
    monkeypatch.setattr(f"{module}.measure", measurement)
    monkeypatch.setattr(f"{module}.measure_file", measurement)
    monkeypatch.setattr(f"{module}.prepared", lambda *_: nullcontext(tmp_path))


COMPILED = ("quantized",), ("network", "quantized"), ("file", "quantized")  # for ExecuTorch too, which takes seconds


@pytest.mark.parametrize(
    "names", [("network",), ("file",), *(pytest.param(names, marks=pytest.mark.slow) for names in COMPILED)]
)
@pytest.mark.usefixtures("_instant")
def test_every_engine_and_precision_given_is_measured_or_refused(names, targets):
    for engines, precisions in product(
        [(one, two) for one in ENGINES for two in ENGINES], [(one, two) for one in PRECISIONS for two in PRECISIONS]
    ):
        engine, precision = (list(dict.fromkeys(filter(None, given))) or None for given in (engines, precisions))
        try:
            result = cw.bench([targets[name] for name in names], engine=engine, precision=precision, threads=1)
        except UsageError:
            continue
        settings = [row.setting for network in result.networks for row in network.rows]
        assert {*(engine or [])} <= {setting.engine for setting in settings}
        assert {*(precision or [])} <= {setting.precision for setting in settings}


@pytest.mark.usefixtures("_instant")
def test_layers_of_files_are_refused(targets):
    for names in (["file"], ["quantized", "file"]):
        with pytest.raises(ArgumentError, match="layers: floors by layer are known for runs and networks, not for"):
            cw.bench([targets[name] for name in names], layers=True)
    both = cw.bench([targets["network"], targets["file"]], layers=True, engine="onnxruntime")
    assert "floors by layer are not known" in str(both)


@pytest.mark.parametrize("select", [0.4, 0.95, 1])
@pytest.mark.usefixtures("_instant")
def test_an_accuracy_that_looks_like_a_share_is_refused(select, run):
    with pytest.raises(
        ArgumentError, match=rf"select: is in percent, above 1 and up to 100, not {select}; 90 means 90 %"
    ):
        cw.bench(run, select=select)


@pytest.mark.usefixtures("_instant")
def test_accuracy_is_named_as_that_of_validation(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cw.bench(run, threads=1)
    (network,) = result.to_dict()["networks"]
    assert network["accuracy_on"].endswith("validation images of digits")
    text = str(result)
    assert "val accuracy" in text
    assert f"val accuracy: accuracy on {network['accuracy_on']}" in text
    assert max(map(len, text.splitlines())) <= 80 + len(str(run)), "only the heading, with the folder, may be longer"
    result.save_html(tmp_path / "bench.html")
    page = (tmp_path / "bench.html").read_text(encoding="utf-8")
    assert f"Accuracy is that on {network['accuracy_on']}" in page
    assert "validation</span>" in page

"""Benchmarks from Python: what is accepted, what comes back, and how it shows itself."""

import json
from dataclasses import replace

import pytest
import torch

import convwright as cw
from convwright.benchmarking.job import Setting
from convwright.benchmarking.measuring import Measurement
from convwright.benchmarking.network_bench import BenchRow, NetworkBench
from convwright.benchmarking.result import BenchResult
from convwright.benchmarking.roofline import Floor, Machine, measure_machine
from convwright.errors import ArgumentError, ConvwrightError

from .rows import row


@pytest.fixture
def result():
    """Two engines in two precisions, of which one has a problem."""
    floors = {(1, 1, "f32"): [Floor("stem.conv", "convolve", 10, 20, 5e-4, 1e-4)]}
    problem = BenchRow(Measurement(Setting("torch-compile", "bf16", 1, 1), problem="no <compiler>"))
    rows = (row("torch", 2e-3, 0.9), row("openvino", 1e-3, 0.89, "int8"), problem)
    network = NetworkBench("resnet<18>", 1_000_000, 2_000_000, 1_900_000, rows, floors)
    return BenchResult((network,), {1: Machine(1, 1e9, 1e9, {"bf16": 2e9})})


def test_a_benchmark_is_the_same_as_data_text_and_html(result):
    values = json.loads(result.to_json())
    assert values.keys() == {"machine", "networks", "selection"}
    first, second, third = values["networks"][0]["engines"]
    assert (first["median_ms"], first["floor_ms"]) == (pytest.approx(2), pytest.approx(0.5))
    assert (second["precision"], second["floor_ms"]) == ("int8", None)
    assert third["problem"] == "no <compiler>"
    shown = str(result)
    for text in (
        "resnet<18>: 1.00 M parameters",
        "x floor",
        "4.00",
        "val accuracy",
        "90.00%",
        "no <compiler>",
        "2.0 in bf16",
    ):
        assert text in shown
    assert "stem.conv" not in shown
    html = result._repr_html_()
    assert "no &lt;compiler&gt;" in html
    assert "<compiler>" not in html


def test_layers_are_shown_on_request(result):
    shown = str(BenchResult(result.networks, result.machines, layers=True))
    assert "a floor of 0.50 ms over 1 layer" in shown
    assert "stem.conv" in shown


def test_a_benchmark_has_a_figure_and_a_page(result, tmp_path):
    bars, marks, *_ = result.figure().data
    assert list(bars.x) == [pytest.approx(2), pytest.approx(1)]
    assert list(marks.x) == [pytest.approx(0.5)], "the floor is known in f32 alone"
    assert result.summary == "resnet<18>: 1 ms an image at best, with openvino in int8."
    result.save_html(tmp_path / "bench.html")
    page = (tmp_path / "bench.html").read_text(encoding="utf-8")
    assert "resnet&lt;18&gt;" in page
    assert "multiply-adds alone" in page
    assert '<span class="key" style="color: var(--network-0)" aria-hidden="true">■</span> f32</li>' in page


def test_a_busy_machine_is_marked(result, tmp_path):
    (network,) = result.networks
    first, *rest = network.rows
    seconds = (2e-3, 2e-3, 900e-3)
    calm, busy = (replace(first.measurement, seconds=seconds, doubt=doubt) for doubt in ("", "threads waited"))
    results = [
        BenchResult((replace(network, rows=(replace(first, measurement=each), *rest)),), result.machines)
        for each in (calm, busy)
    ]
    tails = [each.figure().data[0].error_x.array[0] for each in results]
    assert tails[0] > 100
    assert tails[1] == 0, "the time of other programs"
    assert "the machine was busy: threads waited" not in str(results[0])
    assert "the machine was busy: threads waited" in " ".join(str(results[1]).split())
    assert results[1].to_dict()["networks"][0]["engines"][0]["doubt"] == "threads waited"
    results[1].save_html(tmp_path / "bench.html")
    assert "the machine was busy: threads waited" in (tmp_path / "bench.html").read_text(encoding="utf-8")


def test_a_failure_is_an_error_on_request(result):
    result.check()
    failed = BenchResult(result.networks, result.machines, failure="no engine reaches an accuracy of 99.00%")
    assert str(failed).endswith("no engine reaches an accuracy of 99.00%")
    with pytest.raises(ConvwrightError, match="no engine reaches"):
        failed.check()


def test_one_value_and_several_are_accepted(run, tmp_path):
    exported = cw.export(run, tmp_path / "digits.onnx", images=5).path
    network = cw.network("cifar_resnet8|scale:w=0.25")
    quick = {"engine": ["onnxruntime"], "threads": 1, "seconds": 0.01}
    result = cw.bench([network, exported, cw.open_run(run)], batch=[1, 2], **quick)
    assert [each.name for each in result.networks] == [network.name, str(exported), str(run)]
    assert [[each.setting.batch for each in one.rows] for one in result.networks] == [[1, 2]] * 3
    assert [one.rows[0].accuracy is not None for one in result.networks] == [False, False, True]
    assert result.networks[1].floors == {}
    single = cw.bench(network, **quick)
    assert len(single.networks[0].rows) == 1


@pytest.mark.parametrize(
    ("networks", "options", "message"),
    [
        ([], {}, "networks: must be one or more runs, networks or exported files"),
        (3.5, {}, "networks: "),
        (["resnet18", object()], {}, "networks: must be runs, networks or exported files, not <object"),
        ("absent.onnx", {}, "networks: absent.onnx: no such file"),
        ("nonsense", {}, "networks: "),
        ("resnet18", {"engine": "abacus"}, "engine: must be one of torch, "),
        ("resnet18", {"precision": "f8"}, "precision: must be 'f32' or 'bf16' or 'int8', not 'f8'"),
        ("resnet18", {"precision": "int8", "engine": "torch"}, "precision: nothing to measure"),
        ("resnet18", {"batch": [1, 0]}, "batch: must be a whole number, 1 to 1000000, not 0"),
        ("resnet18", {"threads": 99999}, "threads: must be 1 to "),
        ("resnet18", {"seconds": float("inf")}, "seconds: must be above 0 and 1000000 or less, not inf"),
        ("resnet18", {"select": 90}, "select: needs exactly one run"),
    ],
)
def test_wrong_arguments_are_named(networks, options, message, monkeypatch):
    monkeypatch.setattr("convwright.benchmarking.run_bench.measure_machine", lambda _: pytest.fail("started"))
    with pytest.raises(ArgumentError) as raised:
        cw.bench(networks, **options)
    assert str(raised.value).startswith(message)


def test_the_machine_is_measured_without_random_numbers_of_the_program():
    before = torch.random.get_rng_state()
    measure_machine(1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_generator_of_networks_is_measured():
    networks = (name for name in ("cifar_resnet8|resolution:8", "cifar_seresnet8|resolution:8"))
    result = cw.bench(networks, engine="torch", seconds=0.01, threads=1)
    assert len(result.networks) == 2


@pytest.mark.parametrize("value", [object(), [object()]])
def test_a_value_that_is_no_network_is_refused(value):
    with pytest.raises(ArgumentError, match="networks: must be runs, networks or exported files"):
        cw.bench(value)


@pytest.mark.parametrize("verb", [cw.export, cw.load])
def test_a_value_that_is_no_run_is_refused(verb):
    with pytest.raises(ArgumentError, match="run: must be a run or its directory"):
        verb(object())

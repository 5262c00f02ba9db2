"""The end of a design: the engine of the latency, when 8 bits are taken, and whose accuracy is the answer."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import convwright as cw
from convwright.data.opened import Data
from convwright.designing.candidates import Candidate, LeftOut
from convwright.designing.distillation import NO_GAIN, TEACHES
from convwright.designing.dossier import summary
from convwright.designing.examination import ImageFacts
from convwright.designing.file_export import FileOptions
from convwright.designing.quantizing import NO_ENGINE, USES_FLOATS, USES_INT8, Quantization
from convwright.designing.race import NO_ROOM
from convwright.designing.request import DesignRequest
from convwright.designing.result import DesignResult
from convwright.designing.scaling_trials import COMPARED
from convwright.designing.shipped_file import Shipped, evaluate_file
from convwright.designing.shipping import ship
from convwright.designing.state import TRAINED_LONGER, State
from convwright.designing.time_plan import INT8_FACTOR
from convwright.designing.trials import NO_TIME, Trial
from convwright.designing.winner_record import ScoredImages, Winner
from convwright.errors import ConvwrightError, NotFiniteError
from convwright.scaling.budget import LATENCY, as_budget

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small network on digits."""
    return cw.train(
        "digits", network="cifar_resnet8", epochs=1, out=tmp_path_factory.mktemp("run") / "run", progress=False
    )


def request_of(folder: Path, budget: str, engine: str) -> DesignRequest:
    return DesignRequest(Data("digits"), as_budget(budget), 60, folder, engine=engine)


def test_latency_is_judged_in_torch_where_torch_serves_the_network(run, tmp_path) -> None:
    shipped, decisions = ship(run, request_of(tmp_path, "latency<=10000ms", "torch"), 60)
    assert shipped.engine == "torch"
    assert shipped.used[LATENCY] == shipped.milliseconds["torch"] / 1000
    assert "onnxruntime" in shipped.milliseconds
    assert decisions[-1][1].count("ms per image in torch") == 1
    assert (USES_FLOATS, f"it is within the budget; {NO_ENGINE}") in decisions
    assert Shipped.from_dict(shipped.to_dict()) == shipped


def test_torch_gets_no_file_in_8_bits(run, tmp_path) -> None:
    shipped, decisions = ship(run, request_of(tmp_path, "latency<=0.0001ms", "torch"), 60)
    assert shipped.exceeded == (LATENCY,)
    assert shipped.tested is None
    ((decision, reason),) = decisions
    assert decision == USES_FLOATS
    assert "in torch" in reason
    assert [path.name for path in tmp_path.glob("*.onnx")] == [shipped.file]


@pytest.mark.parametrize("seconds", [0.0, pytest.param(1000.0, marks=pytest.mark.slow)])
def test_8_bits_are_taken_only_where_they_are_faster(run, tmp_path, seconds: float) -> None:
    request = request_of(tmp_path, "latency<=10000ms", "onnxruntime")
    whole, _ = ship(run, request, 0)
    assert whole.engine == "onnxruntime"
    slow = replace(whole, used={LATENCY: seconds})
    quantization = Quantization(run, request, FileOptions(explain=True), 60)
    shipped, (decision, reason) = quantization.try_for_latency(slow)
    assert "onnxruntime" in reason
    if seconds:
        assert shipped.file != whole.file
        assert decision == USES_INT8
        test = Data("digits").dataset().test
        found = cw.load(tmp_path / shipped.file).probabilities(test.images.numpy()).argmax(1)
        assert shipped.tested.right == int(np.sum(found == test.labels.numpy()))
        assert shipped.tested.images == len(test)
        assert Shipped.from_dict(shipped.to_dict()) == shipped
    else:
        assert shipped is slow
        assert decision == USES_FLOATS
        assert [path.name for path in tmp_path.glob("*.onnx")] == [whole.file]


@pytest.mark.parametrize("milliseconds", [(2.0, 1.0), (1.0, 0.95)])
def test_8_bits_are_the_result_if_they_are_faster_and_as_accurate(run, tmp_path, monkeypatch, milliseconds) -> None:
    request = request_of(tmp_path, "macs<=1G", "onnxruntime")
    monkeypatch.setattr(Quantization, "_milliseconds", lambda *files: milliseconds)
    shipped, decisions = ship(run, request, 1000, tested=ScoredImages(300, 360))
    decision, reason = next(each for each in decisions if each[0] in (USES_INT8, USES_FLOATS))
    faster = milliseconds == (2.0, 1.0)
    assert decision == (USES_INT8 if faster else USES_FLOATS)
    assert f"{milliseconds[1]:.2f} ms in onnxruntime with 8 bits, and {milliseconds[0]:.2f} ms with 32-bit" in reason
    if faster:
        assert "8 bits change the accuracy by" in reason
        assert "validation images" in reason
        assert shipped.tested.images == len(Data("digits").dataset().test)
        assert cw.load(tmp_path / shipped.file).card.precision == "int8"
        assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["digits-int8.onnx", "digits.onnx"]
    else:
        assert [path.name for path in tmp_path.glob("*.onnx")] == [shipped.file] == ["digits.onnx"]
    check_card(tmp_path, shipped, faster)


def check_card(folder: Path, shipped: Shipped, int8: bool) -> None:
    """Check that the folder has one card: of the answer, with its accuracy on test images."""
    assert [path.name for path in folder.glob("*README*")] == ["README.md"]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"\n`{shipped.file}`: " in text
    assert f"cw.load({shipped.file!r})".replace("'", '"') in text
    tested = shipped.tested or ScoredImages(300, 360)
    assert f"Test accuracy {tested.accuracy:.2%} (95 % interval {tested.interval[0]:.2%} to " in text
    assert f"on {tested.images} test images of digits. These images were not used to choose" in text
    assert ("`digits.onnx`, beside this file, is the same network in 32-bit floats" in text) is int8
    assert (f"Its test accuracy is {300 / 360:.2%}" in text) is int8


def test_8_bits_that_cost_accuracy_are_not_the_result(run, tmp_path, monkeypatch) -> None:
    request = request_of(tmp_path, "macs<=1G", "onnxruntime")
    whole, decisions = ship(run, request, 0)
    assert next(reason for decision, reason in decisions if decision == USES_FLOATS).startswith(
        "quantization to 8 bits was skipped"
    )
    monkeypatch.setattr(Quantization, "_milliseconds", lambda *files: (2.0, 1.0))
    quantization = Quantization(run, request, FileOptions(), 1000)
    exported = quantization._export(whole, 0)
    lossy = "a loss must not be significant, and at most 0.5"
    for lost, refused in (
        ((0.0, -0.01, 0.01), ""),
        ((0.01, 0.001, 0.02), lossy),  # significantly worse
        ((0.02, -0.01, 0.05), lossy),  # too few images to measure a loss that is too large
        ((0.0, -0.075, 0.075), "too few images to exclude a loss of 5 points"),
        ((-0.1, -0.2, -0.01), ""),
    ):
        agreements = {name: replace(each, lost=lost, images=300) for name, each in exported.agreements.items()}
        better, reason = quantization._compare(whole, replace(exported, agreements=agreements))
        assert better is not bool(refused)
        assert refused in reason
        assert "\u22120.0" not in reason


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("convwright.designing.quantizing.write_file", RuntimeError("no scale of a tensor")),
        pytest.param(
            "convwright.designing.quantizing.measure_file",
            ConvwrightError("no engine runs it"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "convwright.designing.quantizing.evaluate_file", NotFiniteError("a logit is NaN"), marks=pytest.mark.slow
        ),
    ],
)
def test_an_attempt_at_8_bits_that_fails_keeps_the_file_in_floats(run, tmp_path, monkeypatch, part, error) -> None:
    request = request_of(tmp_path, "latency<=10000ms", "onnxruntime")
    whole, _ = ship(run, request, 0)

    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Quantization, "_milliseconds", lambda *files: (2.0, 1.0))
    monkeypatch.setattr(part, failing)
    quantization, slow = Quantization(run, request, FileOptions(), 1000), replace(whole, used={LATENCY: 1000.0})
    for kept, found in (
        (whole, quantization.try_for_speed(whole, 1)),
        (slow, quantization.try_for_latency(slow)),
    ):
        shipped, (decision, reason) = found
        assert shipped is kept
        assert decision == USES_FLOATS
        assert str(error) in reason
        assert [path.name for path in tmp_path.glob("*.onnx")] == [whole.file]


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 3.9])
def test_8_bits_are_not_tried_without_time(run, tmp_path, seconds: float) -> None:
    request = request_of(tmp_path, "macs<=1G", "onnxruntime")
    stored = {"file": "digits.onnx", "precision": "f32", "bytes": 1, "milliseconds": {}, "used": {}, "exceeded": []}
    whole = Shipped.from_dict(stored)
    shipped, (decision, reason) = Quantization(run, request, FileOptions(), seconds).try_for_speed(
        whole, 4 / INT8_FACTOR
    )
    assert shipped is whole
    assert decision == USES_FLOATS
    needed, left = map(int, re.findall(r"(\d+) s", reason))
    assert (needed, left) == (4, max(0, int(seconds)))
    assert f"convwright export {run.path} --int8" in reason


def test_a_file_in_floats_predicts_as_the_run(run, tmp_path) -> None:
    shipped, _ = ship(run, request_of(tmp_path, "macs<=1G", "torch"), 60)
    assert evaluate_file(tmp_path / shipped.file, run, "onnxruntime").accuracy == pytest.approx(
        run.evaluate(split="test").accuracy, abs=0.003
    )


@pytest.fixture
def result(run, tmp_path) -> DesignResult:
    """A design whose winner is a network `best`, and whose file uses 8-bit integers."""
    state = State(tmp_path, {}, candidates=[Candidate("best", "ResNet", "", run.network)], rounds=[["best"]])
    state.trials = [Trial("best", 0, 0, "race/0-00", 0.5, "01", 2, 1.0, 1.0)]
    state.images = ImageFacts(("0", "1"), {"train": (9, 9), "test": (180, 180)}, 8, 1).to_dict()
    state.winner = Winner("best", "race/0-00")
    request = request_of(tmp_path, "latency<=1ms", "onnxruntime")
    stored = {"file": "digits-int8.onnx", "precision": "int8", "bytes": 1, "milliseconds": {"onnxruntime": 2.0}}
    stored |= {"used": {LATENCY: 0.002}, "exceeded": [LATENCY], "engine": "onnxruntime"}
    shipped = Shipped.from_dict(stored | {"tested": {"right": 90, "images": 360}})
    found = run.evaluate(split="test")
    tested = ScoredImages(round(found.accuracy * found.images), found.images)
    return DesignResult(request, state, run, tested, shipped, 10.0, found)


def test_the_accuracy_of_the_answer_is_that_of_the_file(result) -> None:
    assert result.accuracy == result.to_dict()["accuracy"] == 0.25
    assert result.interval[0] < 0.25 < result.interval[1]
    assert "25.0" in str(result).splitlines()[0]
    page = summary(result)
    assert "25.0" in page
    assert "uses 8-bit integers. The figures below show the network in 32-bit floats" in page
    assert "ms per image in onnxruntime" in result.failure
    whole = replace(result, shipped=replace(result.shipped, tested=None))
    assert whole.accuracy == result.tested.accuracy == pytest.approx(result.evaluation.accuracy)
    assert "8-bit" not in summary(whole)


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        ("significantly worse: 9 points", "significantly worse"),
        ("statistically behind: 9 points behind", "significantly worse"),  # as earlier versions stored it
        ("ranked in the lower half of the round", "ranked in the lower half"),
        ("only the better half takes part in the next round; 1 percentage point behind", "ranked in the lower half"),
        (NO_TIME, "out of time"),
        ("the trials before it took the time of the round", "out of time"),
        ("the next round has no time for it", "out of time"),
        ("it exceeds the budget, so it can be the teacher, but not the winner", "exceeds the budget"),
        (f"distillation from huge {NO_GAIN}: +0.1 percentage points", "no gain from distillation"),
        ("huge as teacher brings no measurable gain: +0.1 percentage points", "no gain from distillation"),
        ("it could not be trained: it diverged", "failed"),
        (f"{COMPARED}; its validation accuracy is 90 %", "trained for the scaling comparison"),
        ("it was trained to compare ways of scaling; its accuracy is 90 %", "trained for the scaling comparison"),
        ("", "statistically indistinguishable"),
    ],
)
def test_short_reasons_are_those_of_the_decisions(result, reason: str, short: str) -> None:
    state = result.state
    state.candidates.append(replace(state.candidates[0], name="other"))
    state.trials.append(replace(state.trials[0], candidate="other"))
    if reason:
        state.decide("race", "other is dropped", reason)
    assert [row[-1] for row in result.table().rows if row[0] == "other"] == [short]


@pytest.mark.parametrize(
    ("suffix", "short"),
    [("distilled", "replaced by its distilled version"), ("enlarged", "replaced by a higher resolution")],
)
@pytest.mark.parametrize(("named", "earlier"), [("best ({})", ""), ("best, {}", "that helps: ")])
def test_the_network_that_the_winner_was_made_from_is_not_level_with_it(
    result, suffix: str, short: str, named: str, earlier: str
) -> None:
    state, name = result.state, named.format(suffix)
    state.candidates.append(replace(state.candidates[0], name=name, parent="best"))
    state.trials.append(replace(state.trials[0], candidate=name, round=1))
    state.winner = replace(state.winner, candidate=name)
    state.decide("training", f"huge{TEACHES}", earlier + "+9.0 percentage points")
    state.decide("training", f"{TRAINED_LONGER} 3 epochs", "its validation accuracy is 90 %")
    rows = {row[0]: row[-1] for row in result.table().rows}
    assert rows == {"best": short, name: "winner"}
    lost = {each["name"]: each["lost"] for each in result.to_dict()["candidates"]}
    assert not lost[name]
    assert lost["best"].startswith(f"replaced by {name}: ")
    assert lost["best"].endswith(": +9.0 percentage points" if suffix == "distilled" else "90 %")


def test_candidates_without_time_are_listed_in_one_line(result) -> None:
    reasons = {"ResNet": NO_ROOM, "huge": "needs 30.0 M MACs; the budget allows 20.0 M MACs", "small": NO_TIME}
    result.state.left_out += [LeftOut(*each) for each in reasons.items()]
    assert result.not_tried() == [f"huge: {reasons['huge']}", "for lack of time: ResNet, small"]
    assert "not tried, for lack of time: ResNet, small" in str(result)


def test_the_winner_is_shown_with_the_run_that_is_kept(result) -> None:
    result.state.trials.append(replace(result.state.trials[0], round=1, run="race/1-00", accuracy=0.1))
    ((_, trial),) = result.trials()
    assert trial.run == result.state.winner.run == "race/0-00"
    assert result.round_name(trial) == "1"

"""The time that is kept for the end of a design: never less than what was measured, and more on a busier machine."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import convwright as cw
from convwright.arch import at
from convwright.data.opened import Data
from convwright.designing import reserve as measuring
from convwright.designing.candidates import Candidate
from convwright.designing.clock import Clock, TimeLimit
from convwright.designing.context import DesignContext
from convwright.designing.request import DesignRequest
from convwright.designing.reserve import MAX_WAITING, Reserve, Waiting, waiting_factor
from convwright.designing.state import EndMeasurements, State
from convwright.designing.time_plan import MAX_END_SHARE, TEST_PASSES, EndCosts, TimePlan
from convwright.designing.trials import Trial
from convwright.training.callbacks import Step

SECONDS = 600.0
COSTS = st.builds(
    EndCosts,
    st.floats(0, 0.1),
    st.integers(1, 2000),
    st.integers(1, 5000),
    st.floats(0, 40),
    st.floats(0, 20),
    st.floats(0, 20),
    st.booleans(),
)


@given(COSTS, st.floats(30, 40_000), st.floats(1, MAX_WAITING))
def test_the_reserve_is_never_below_what_was_measured(costs: EndCosts, seconds: float, slowdown: float) -> None:
    plan = TimePlan(seconds)
    kept = plan.end(costs, slowdown)
    predictions = costs.image_seconds * (costs.val_images + TEST_PASSES * costs.test_images)
    parts = (predictions, costs.export_seconds, costs.dossier_seconds, costs.opening_seconds)
    assert costs.seconds >= max(parts)
    assert costs.seconds == pytest.approx(sum(parts))
    assert kept >= min(MAX_END_SHARE * seconds, slowdown * costs.seconds)
    assert kept <= MAX_END_SHARE * seconds
    assert plan.end(costs, 2 * slowdown) >= kept
    assert plan.end(replace(costs, test_images=2 * costs.test_images), slowdown) >= kept or costs.int8
    assert plan.end(replace(costs, int8=False), slowdown) <= kept


@pytest.fixture
def design(tmp_path):
    """The reserve of a design on digits after its race, and its winner."""
    network = at(cw.network("cifar_resnet8|fit:8"), channels=1, classes=10)
    state = State(tmp_path, {}, candidates=[Candidate("one", "one", "", network)])
    data = Data("digits")
    request = DesignRequest(data, None, SECONDS, tmp_path, engine="onnxruntime")
    context = DesignContext(request, state, Clock(tmp_path / "clock.json", SECONDS), progress=False)
    context.data = data
    trial = Trial("one", 0, 0, "race/0-00", 0.5, "01", 2, 1.0, 1.0, image_seconds=0.01)
    return Reserve(context, TimePlan(SECONDS), trial, opening_seconds=2.0)


def test_training_leaves_time_for_the_end(design) -> None:
    candidate, state = design.context.state.candidates[0], design.context.state
    wider = replace(candidate, name="wider", network=at(candidate.network, resolution=16))
    dataset = design.context.dataset
    without = design.limit_of(candidate)()
    assert SECONDS - without > 0.01 * (len(dataset.val) + TEST_PASSES * len(dataset.test)) + 2.0
    state.end_measured = EndMeasurements(5.0, 1.0)
    assert without - design.limit_of(candidate)() >= 5.0
    assert design.limit_of(wider)() <= design.limit_of(candidate)()
    design.best = replace(design.best, image_seconds=1e-9)
    assert design.limit_of(wider)() < design.limit_of(candidate)()


def test_an_export_is_measured_once(design) -> None:
    pytest.importorskip("onnxruntime")
    context = design.context
    run = cw.train("digits", network="cifar_resnet8", epochs=0.1, out=context.request.out / "race/0-00", progress=False)
    before = {path.name for path in context.request.out.iterdir()}
    design.measure()
    measured = context.state.end_measured
    assert measured.export_seconds > 0
    assert 1 <= measured.waiting <= MAX_WAITING
    assert State.open(context.request.out).end_measured == measured
    design.measure()
    assert context.state.end_measured is measured
    assert {path.name for path in context.request.out.iterdir()} - before <= {"state.json"}
    assert run.weights.exists()


def test_an_export_that_fails_is_no_failure_of_the_design(design) -> None:
    pytest.importorskip("onnxruntime")
    design.measure()  # there is no run
    assert design.context.state.end_measured.export_seconds >= measuring.USUAL_EXPORT_SECONDS


def test_a_machine_that_becomes_busier_ends_training_earlier(design, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "WINDOW", 0.0)
    state = design.context.state
    state.end_measured = EndMeasurements(5.0, 1.0)
    limit = TimeLimit(design.context.clock, design.limit_of(state.candidates[0]))
    before = limit.until
    for _ in range(measuring.WINDOWS):
        assert limit.until == before, "one stall of the machine is no busy machine"
        design.waiting._wall -= 100.0  # as if this thread had waited that long
        design.waiting.on_step(Step(1, 2, 1, 0.0))
    assert design.waiting.factor == MAX_WAITING
    assert limit.until < before
    state.end_measured = EndMeasurements(5.0, MAX_WAITING)  # it was as busy when the export was measured
    assert design.limit_of(state.candidates[0])() == before


@given(st.floats(0.1, 100), st.floats(0, 100))
def test_waiting_is_the_time_beside_computing(seconds: float, computed: float) -> None:
    factor = waiting_factor(seconds, computed)
    assert 1 <= factor <= MAX_WAITING
    if computed >= seconds:
        assert factor == 1


def test_a_thread_that_computes_does_not_wait() -> None:
    waiting = Waiting()
    assert waiting.factor == 1
    waiting.on_step(Step(1, 2, 1, 0.0))  # the first period is too short to count
    assert waiting.factor == 1

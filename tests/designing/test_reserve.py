"""The time that is kept for the end of a design: never less than what was measured, and more on a busier machine."""

import time
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


def test_a_long_export_is_estimated_instead_of_tried(design) -> None:
    """A trial of it would take much of the training's time."""
    pytest.importorskip("onnxruntime")
    design.best = replace(design.best, image_seconds=SECONDS / 1000)
    design.measure()
    measured, data = design.context.state.end_measured, design.context.dataset
    assert {path.name for path in design.context.request.out.iterdir()} <= {"state.json"}
    assert measured.export_seconds > design.best.image_seconds * len(data.val)
    assert 0 < measured.dossier_seconds < measured.export_seconds
    assert State.open(design.context.request.out).end_measured == measured


def test_a_slower_winner_needs_what_would_be_estimated_if_it_had_won_the_race(design) -> None:
    """Only the export and the predictions need more time: the rest of the dossier does not."""
    pytest.importorskip("onnxruntime")
    context, fast = design.context, design.context.state.candidates[0]
    context.request = replace(context.request, seconds=30.0)
    just_estimated = 1.1 * measuring.TEST_EXPORT_SHARE * 30.0 / design._predictions_of_export
    design.best = replace(design.best, image_seconds=just_estimated)
    design.measure()
    slow = replace(fast, name="slow", network=at(fast.network, resolution=96))
    costs, fast_measured = design.costs(slow), context.state.end_measured
    assert costs.image_seconds > design.best.image_seconds
    assert costs.dossier_seconds == design.costs(fast).dossier_seconds
    context.state.candidates.append(slow)
    context.state.end_measured = None
    best = replace(design.best, candidate="slow", image_seconds=costs.image_seconds)
    Reserve(context, design.plan, best).measure()
    slow_measured = context.state.end_measured
    more = slow_measured.export_seconds - slow_measured.fixed_seconds
    assert costs.export_seconds - fast_measured.fixed_seconds == pytest.approx(more)
    per_load = [each.dossier_seconds / each.waiting for each in (fast_measured, slow_measured)]
    assert per_load[0] == pytest.approx(per_load[1])


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


def test_a_machine_that_becomes_idle_ends_training_later(design, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "WINDOW", 0.0)
    state = design.context.state
    state.end_measured = EndMeasurements(20.0, MAX_WAITING)
    limit = design.limit_of(state.candidates[0])
    before = limit()
    for periods in range(measuring.WINDOWS):
        assert limit() == before, f"{periods} periods are too few"
        compute_for(0.02)
        design.waiting._computed -= 100.0  # as if this thread had computed all the time
        design.waiting.on_step(Step(1, 2, 1, 0.0))
    assert before < limit() < SECONDS


@given(st.floats(0.1, 100), st.floats(1.01, 7.9))
def test_waiting_is_the_time_beside_computing(computed: float, factor: float) -> None:
    assert waiting_factor(factor * computed, computed) == pytest.approx(factor)
    assert waiting_factor(computed / factor, computed) == 1
    assert waiting_factor(100 * computed, computed) == MAX_WAITING
    assert waiting_factor(computed, 0.0) == MAX_WAITING


def compute_for(seconds: float) -> None:
    """Keep this thread busy for some seconds of processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_time_in_which_a_thread_does_not_compute_is_waiting(monkeypatch) -> None:
    """The load is that on this thread, measured in steps: a thread that sleeps is as slow as one that others delay."""
    monkeypatch.setattr(measuring, "WINDOW", 0.03)
    waiting = Waiting()
    for _ in range(measuring.WINDOWS):
        assert (waiting.factor, waiting.known) == (1, False)
        compute_for(0.01)
        time.sleep(0.06)
        waiting.on_step(Step(2, 2, 1, 0.0))
    assert waiting.known
    assert waiting.factor > 3
    waiting.on_start(None)  # type: ignore[arg-type]  # another run: what was before it does not count in its period
    assert time.thread_time() - waiting._computed < 0.01


def test_one_stall_is_no_busy_machine(monkeypatch) -> None:
    monkeypatch.setattr(measuring, "WINDOW", 0.0)
    waiting = Waiting()
    for stall in (0.0, 100.0, 0.0):
        waiting._wall -= stall
        waiting._computed -= 1.0  # as if this thread had computed for a second
        waiting.on_step(Step(1, 2, 1, 0.0))
    assert waiting.known
    assert waiting.factor == 1


def test_short_periods_do_not_count() -> None:
    waiting = Waiting()
    for _ in range(2 * measuring.WINDOWS):
        waiting._wall = time.monotonic() - measuring.WINDOW / 100
        waiting.on_step(Step(1, 2, 1, 0.0))
    assert (waiting.factor, waiting.known) == (1, False)

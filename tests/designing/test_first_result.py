"""The first result of a design: one candidate is trained before the others are measured."""

from dataclasses import replace

import numpy as np
import pytest

import convwright as cw
from convwright.arch.cost import cost
from convwright.data.opened import Data
from convwright.designing.clock import Clock
from convwright.designing.context import DesignContext
from convwright.designing.families import FAMILIES
from convwright.designing.keep_best import KeepBest
from convwright.designing.planning import Planner
from convwright.designing.race import Race
from convwright.designing.request import DesignRequest, RaceExecution
from convwright.designing.state import BestSoFar, State
from convwright.scaling.budget import as_budget


@pytest.fixture
def lines() -> list[str]:
    """Lines that the design reports."""
    return []


@pytest.fixture
def context(tmp_path, lines) -> DesignContext:
    """A new design on digits, with a budget and a time."""

    class Reporting(DesignContext):
        def report(self, text: str) -> None:
            self.keep()
            lines.append(text)

    request = DesignRequest(Data("digits"), as_budget("macs<=1M"), 400, tmp_path)
    state = State(tmp_path, request.to_dict())
    found = Reporting(request, state, Clock(tmp_path / "clock.json", 400), progress=False)
    found.data = request.data
    return found


def test_the_first_result_is_there_before_other_families_are_measured(context, lines) -> None:
    planner, state = Planner(context), context.state
    first = planner.find_first()
    assert state.candidates == [first]
    assert not context.request.budget.exceeded_by(cost(first.network))
    place = context.trainer.place(0, 0)
    race = Race(state, context.trainer, planner.limits, 12.0, context.report)
    race.try_first([KeepBest(context, first.name, place, announce=True)])
    assert len(state.speeds) <= 1
    (trial,) = state.trials
    learned = trial.accuracy > 0.2  # not on a machine that is too slow, or too busy, for these seconds
    assert [line.split(":")[0] for line in lines] == ["first result"] * (learned or len(lines) == 2) + ["round 1"]
    assert state.best is not None
    assert (context.request.out / "best").resolve() == (context.request.out / place).resolve()
    assert len(cw.open_run(context.request.out / "best").predict([np.zeros((8, 8), np.uint8)])) == 1
    assert state.best.accuracy >= trial.accuracy

    again = Planner(DesignContext(context.request, State.open(state.folder), context.clock, progress=False))
    again.context.data = context.data  # as a design that was stopped here
    for each in (planner, again):
        found = each.context.state
        assert not found.candidates_found
        each.find_candidates()
        assert found.candidates_found
        names = [one.name for one in (*found.candidates, *found.left_out)]
        assert names[0] == first.name
        assert len(names) == len(set(names))
        assert {family.title for family in FAMILIES} <= {*names}
        assert found.trial(first.name, 0) is not None
        budget = each.context.request.budget
        assert not any(budget.exceeded_by(cost(one.network)) for one in found.candidates)
        largest = max(cost(one.network).macs for one in found.candidates)
        assert largest > 0.9 * budget.limits["macs"], "the budget limits none, so that nothing shows that it is kept"


def test_a_result_is_better_than_predicting_one_class(context, lines) -> None:
    first = Planner(context).find_first()
    callback = KeepBest(context, first.name, "race/0-00", announce=True)
    callback.on_validation({"val_accuracy": float("nan")})
    assert context.state.best is None
    callback.on_validation({"val_accuracy": 0.05})
    assert not lines, "predicting one class is more accurate"
    callback.on_validation({"val_accuracy": 0.5})
    callback.on_validation({"val_accuracy": 0.25})
    assert context.state.best == BestSoFar(first.name, "race/0-00", 0.5)
    (line,) = lines
    assert "50.0\u00a0% of 143 validation images" in line


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({}, True),
        ({"workers": 2}, True),
        ({"cluster": "local"}, False),
        ({"storage": "sqlite:///a.db"}, False),
        ({"storage": "sqlite:///a.db", "workers": 2}, False),
    ],
)
def test_what_the_time_is_enough_for_is_reported_where_the_number_of_workers_is_known(context, settings, known) -> None:
    context.request = replace(context.request, execution=RaceExecution(**settings))
    for seconds, enough in ((60.0, False), (1e6, True)):
        context.clock = Clock(context.request.out / "clock.json", seconds)
        assert bool(Planner(context).time_note) == (known and not enough)

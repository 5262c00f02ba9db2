"""Successive halving as a function of the results: in whatever order tasks end, all workers agree on the rest."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.errors import UsageError
from convwright.scaling.halving import Schedule, Task

schedules = st.builds(
    Schedule,
    candidates=st.integers(1, 12),
    epochs=st.floats(0.1, 20),
    rungs=st.integers(1, 4),
    keep=st.floats(1.1, 4),
    seeds=st.integers(1, 3),
)


def quality(task):
    return random.Random(hash(task)).random()


def run_all(schedule, draw):
    """Complete the remaining tasks in a random order; return all results."""
    results = {}
    while left := schedule.remaining(results):
        task = draw.choice(left)
        assert task not in results, "no task is done twice"
        results[task] = quality(task)
    return results


@given(schedules, st.integers(0, 10**6))
def test_order_does_not_matter(schedule, seed):
    one, other = (run_all(schedule, random.Random(value)) for value in (seed, seed + 1))
    assert one == other
    assert schedule.finished(one)
    assert sum(task.epochs for task in one) == pytest.approx(schedule.total_epochs)


@given(schedules)
def test_the_best_of_each_rung_are_kept(schedule):
    results = run_all(schedule, random.Random(0))
    for rung in range(1, schedule.rungs):
        before, now = schedule.survivors(rung - 1, results), schedule.survivors(rung, results)
        assert len(now) == schedule.size(rung) <= len(before)
        worst = min(schedule.mean(one, rung - 1, results) for one in now)
        assert all(schedule.mean(one, rung - 1, results) <= worst for one in before if one not in now)


@given(schedules)
def test_all_candidates_of_a_rung_share_their_seeds_and_length(schedule):
    results = run_all(schedule, random.Random(0))
    for rung in range(schedule.rungs):
        for one in schedule.survivors(rung, results):
            assert all(Task(one, seed, schedule.length(rung)) in results for seed in range(schedule.seeds))


def test_a_rung_starts_when_the_rung_before_has_ended():
    schedule = Schedule(4, epochs=9, rungs=2, keep=3, seeds=2)
    results = {task: quality(task) for task in schedule.remaining({})[:-1]}
    assert [task.epochs for task in schedule.remaining(results)] == [3.0]


@pytest.mark.parametrize("name", ["candidates", "epochs", "rungs", "keep", "seeds"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, 1e300, 10**18])
def test_wrong_schedules_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"{name}: must be ((1|1\.1) or more|above 0) and at most"):
        Schedule(**({"candidates": 3} | {name: value}))


def test_the_longest_schedule_can_be_computed():
    schedule = Schedule(100_000, epochs=1_000_000, rungs=20, keep=100_000, seeds=1_000)
    assert math.isfinite(schedule.total_epochs)
    assert schedule.size(19) == 2


def test_every_rung_is_smaller_than_the_one_before():
    with pytest.raises(UsageError, match=r"keep: must be 1\.1 or more and at most 100,000, not 1"):
        Schedule(3, keep=1)

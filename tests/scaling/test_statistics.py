"""Intervals of few seeds, held to scipy and to what they promise."""

import numpy as np
import pytest
from scipy import stats

from convwright.scaling.statistics import difference, indistinguishable, of_seeds


def test_a_mean_has_students_interval():
    values = [0.91, 0.93, 0.915, 0.92]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    mean = of_seeds(values)
    assert (mean.value - mean.half, mean.value + mean.half) == pytest.approx((low, high))


def test_one_seed_has_no_interval():
    assert of_seeds([0.9]).half is None


def test_what_seeds_do_to_both_cancels_out():
    first = {0: 0.90, 1: 0.95, 2: 0.85}
    second = {seed: value - 0.01 for seed, value in first.items()} | {7: 0.1}
    gap = difference(first, second)
    assert gap.value == pytest.approx(0.01)
    assert gap.half == pytest.approx(0, abs=1e-12)
    assert gap.count == 3, "only the seeds that both have"


def test_candidates_that_seeds_do_not_separate_are_named():
    noise = {0: 0.01, 1: -0.01, 2: 0.002}
    results = {
        7: {seed: 0.90 + value for seed, value in noise.items()},
        3: {seed: 0.899 - value for seed, value in noise.items()},
        1: {seed: 0.80 + value for seed, value in noise.items()},
    }
    assert indistinguishable(results) == [7, 3]


def test_the_level_holds_for_all_comparisons_together():
    """Of equal candidates, the best is declared better than all others in at most 5 % of studies, or so."""
    draw = np.random.default_rng(0)
    studies = 400
    alone = sum(
        len(indistinguishable({one: dict(enumerate(draw.normal(size=4))) for one in range(5)})) < 2
        for _ in range(studies)
    )
    assert alone / studies < 0.05

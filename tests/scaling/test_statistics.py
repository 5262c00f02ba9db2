"""Intervals of few seeds, held to scipy and to what they promise."""

import numpy as np
import pytest
from scipy import stats

from convwright.scaling.ranking import RankedNetwork, verdict
from convwright.stats.means import difference, indistinguishable, mean_of_folds, mean_of_seeds


def test_a_mean_has_students_interval():
    values = [0.91, 0.93, 0.915, 0.92]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    mean = mean_of_seeds(values)
    assert (mean.value - mean.margin, mean.value + mean.margin) == pytest.approx((low, high))


def test_one_seed_has_no_interval():
    assert mean_of_seeds([0.9]).margin is None


def test_what_seeds_do_to_both_cancels_out():
    first = {0: 0.90, 1: 0.95, 2: 0.85}
    second = {seed: value - 0.01 for seed, value in first.items()} | {7: 0.1}
    gap = difference(first, second)
    assert gap.value == pytest.approx(0.01)
    assert gap.margin is None, "a spread too small to be seen is not known to be none"
    assert gap.count == 3, "only the seeds that both have"
    second[1] -= 0.001
    assert difference(first, second).margin == pytest.approx(stats.t.ppf(0.975, 2) * 0.001 / 3)


def test_candidates_that_seeds_do_not_separate_are_named():
    noise = {0: 0.01, 1: -0.01, 2: 0.002}
    results = {
        7: {seed: 0.90 + value for seed, value in noise.items()},
        3: {seed: 0.899 - value for seed, value in noise.items()},
        1: {seed: 0.80 + 0.9 * value for seed, value in noise.items()},
    }
    assert indistinguishable(results) == [7, 3]


def test_two_seeds_that_happen_to_agree_prove_nothing():
    """Accuracies are shares of some hundred images, so that equal gaps are no rarity."""
    results = {0: {0: 171 / 180, 1: 170 / 180}, 1: {0: 170 / 180, 1: 169 / 180}}
    assert indistinguishable(results) == [0, 1]


def test_networks_that_diverged_on_a_seed_are_not_surely_worse():
    results = {0: {0: 0.9, 1: 0.91}, 1: {0: 0.9, 1: 0.0}}
    assert indistinguishable(results) == [0, 1]


def test_of_equal_candidates_hardly_any_is_told_apart_from_the_best():
    draw = np.random.default_rng(0)
    studies = 400
    wrong = sum(
        len(indistinguishable({one: dict(enumerate(draw.normal(size=4))) for one in range(6)})) < 6
        for _ in range(studies)
    )
    assert wrong / studies < 0.05


def test_the_level_holds_for_all_comparisons_together():
    """Of equal candidates, the best is declared better than all others in at most 5 % of studies, or so."""
    draw = np.random.default_rng(0)
    studies = 400
    alone = sum(
        len(indistinguishable({one: dict(enumerate(draw.normal(size=4))) for one in range(5)})) < 2
        for _ in range(studies)
    )
    assert alone / studies < 0.05


def test_a_network_alone_is_never_the_best_of_a_comparison():
    one, other = _ranked("one", 1.0), _ranked("other", 1.0)
    assert verdict([one]) == "There was nothing to compare: one is the only network of the study."
    assert verdict([one], finished=False).startswith("Nothing can be compared yet: only one was trained for 1 epochs")
    kept = _ranked("kept", 3.0)
    assert verdict([kept, other], finished=False).startswith("Nothing can be compared yet: only kept")
    assert verdict([kept, other]).startswith("Best is kept, by the shorter training runs")
    assert verdict([one, other], finished=False).startswith("Not all training runs have ended; best so far is one")


def _ranked(name: str, epochs: float) -> RankedNetwork:
    return RankedNetwork(name, "compound", name, {}, 8, 1, 1, epochs, {0: 0.5, 1: 0.6})


def test_the_interval_of_folds_is_that_of_nadeau_and_bengio():
    values = [0.91, 0.93, 0.90, 0.95, 0.92]
    found = mean_of_folds(values, 1 / 4)
    deviation = ((1 / 5 + 1 / 4) * np.var(values, ddof=1)) ** 0.5
    assert found.value == pytest.approx(np.mean(values))
    assert found.margin == pytest.approx(stats.t.ppf(0.975, 4) * deviation)
    assert mean_of_folds(values, 0) == mean_of_seeds(values)
    assert mean_of_folds([0.9, 0.9], 1).margin is None

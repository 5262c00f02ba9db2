"""Temperatures, prediction sets and energies keep what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.stats.limits import (
    COVERAGES,
    PRIOR,
    Limits,
    are_limits,
    area_under_roc,
    calibration_error,
    conformal_threshold,
    energy,
    fit_limits,
    fit_temperature,
    softmax,
)


def labelled(count, seed=0, classes=5, temperature=1.0):
    """Return logits that are too confident by a temperature, and labels drawn from the right probabilities."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, classes)) * 2
    labels = np.array([generator.choice(classes, p=row) for row in softmax(logits)])
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    logits, labels = labelled(6000, temperature=temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.06)
    limits = fit_limits(logits, labels)
    assert limits.error_after < 0.03
    if temperature != 1:
        assert limits.error_after < limits.error_before


def cross_entropy(logits, labels, temperature):
    return -np.log(softmax(logits / temperature)[np.arange(len(labels)), labels]).mean()


def test_no_other_temperature_has_a_smaller_cross_entropy():
    logits, labels = labelled(500, temperature=2.5)
    probabilities = softmax(logits)

    def loss(temperature):
        predicted = -(probabilities * np.log(softmax(logits / temperature))).sum(1).mean()
        return (500 * cross_entropy(logits, labels, temperature) + PRIOR * predicted) / (500 + PRIOR)

    best = fit_temperature(logits, labels)
    assert all(loss(best) < loss(best * factor) for factor in (0.8, 0.99, 1.01, 1.25))


@pytest.mark.parametrize("count", [20, 40])
@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("wrong", [0, 1])
def test_few_images_that_are_classified_correctly_give_no_extreme_temperature(count, scale, wrong):
    logits = np.random.default_rng(count).normal(size=(count, 5)) * scale
    labels = logits.argmax(1)
    labels[:wrong] = logits[:wrong].argsort(1)[:, -2]
    assert 0.5 < fit_temperature(logits, labels) < 1.5
    limits = fit_limits(logits, labels)
    assert limits.probabilities(np.array([[0.3, 0, -0.1]])).max() < 0.6


@pytest.mark.parametrize("temperature", [0.4, 1.5, 3.0])
def test_many_images_have_the_temperature_of_their_cross_entropy(temperature):
    logits, labels = labelled(2000, temperature=temperature)
    best = fit_temperature(logits, labels)
    assert cross_entropy(logits, labels, best) < min(
        cross_entropy(logits, labels, best * each) for each in (0.97, 1.03)
    )


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9, 0.95])
def test_sets_contain_the_true_class_as_often_as_promised(coverage):
    held, labels = labelled(2000, seed=1, temperature=2.0)
    limits = fit_limits(held, labels)
    new, truth = labelled(8000, seed=2, temperature=2.0)
    members = limits.probabilities(new) >= limits.threshold(coverage)
    assert members[np.arange(len(truth)), truth].mean() == pytest.approx(coverage, abs=0.03)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.sampled_from(COVERAGES))
def test_a_threshold_is_reached_by_enough_scores(scores, percent):
    threshold = conformal_threshold(np.array(scores), percent / 100)
    reached = sum(score >= threshold for score in scores)
    assert threshold == 0 or reached >= (len(scores) + 1) * percent / 100 - 1e-9


def test_too_few_images_give_every_class():
    assert conformal_threshold(np.full(8, 0.9), 0.9) == 0
    assert conformal_threshold(np.full(9, 0.9), 0.9) == 0.9


def test_thresholds_fall_with_coverage_which_is_rounded_up():
    limits = fit_limits(*labelled(400))
    assert list(limits.thresholds) == sorted(limits.thresholds, reverse=True)
    assert limits.threshold(0.9) == limits.thresholds[COVERAGES.index(90)]
    assert limits.threshold(0.901) == limits.threshold(0.91)
    assert limits.threshold(0.55) == limits.thresholds[COVERAGES.index(55)]  # 55.00000000000001 percent in floats


def test_limits_survive_json():
    limits = fit_limits(*labelled(100))
    stored = limits.to_dict()
    assert are_limits(stored)
    assert Limits.from_dict(stored) == limits
    earlier = {name: value for name, value in stored.items() if name not in ("ood_score", "ood_rule")}
    assert are_limits(earlier)
    assert Limits.from_dict(earlier) == limits
    for wrong in (
        {"temperature": 0},
        {"thresholds": [0.5]},
        {"images": "1"},
        {"energy": float("nan")},
        {"new": 1},
        {"ood_score": "2"},
        {"ood_score": 2.0, "ood_rule": 1},
        {"ood_rule": "sum"},
    ):
        assert not are_limits(stored | wrong)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    assert calibration_error(probabilities, np.array([0, 1, 0, 1])) == pytest.approx((abs(1.8 - 1) + abs(1.2 - 2)) / 4)


def test_energy_is_finite_for_large_logits():
    logits = np.array([[1000.0, 0], [-1000, -1000]])
    assert energy(logits) == pytest.approx([-1000, 1000 - np.log(2)])


def test_area_under_roc_counts_pairs():
    known, unknown = np.array([0.1, 0.4, 0.4]), np.array([0.4, 0.8])
    pairs = [(u > k) + 0.5 * (u == k) for u in unknown for k in known]
    assert area_under_roc(known, unknown) == pytest.approx(np.mean(pairs))

"""Average precision, its bootstrap intervals, and thresholds: against scikit-learn, by hand and by brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from convwright.stats.average_precision import (
    RankedScores,
    best_thresholds,
    mean_over_classes,
    mean_precision,
    precision_difference,
)


def scores_and_labels(images, classes, seed, levels):
    """Random scores that are better than chance, rounded so that some are equal."""
    draw = np.random.default_rng(seed)
    labels = draw.random((images, classes)) < 0.4
    scores = np.round((draw.random((images, classes)) + 0.5 * labels) / 1.5 * levels) / levels
    return scores, labels


cases = st.builds(
    scores_and_labels, st.integers(1, 40), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([2, 10, 10**6])
)


def test_average_precision_by_hand():
    scores, labels = np.array([[0.9], [0.8], [0.7], [0.6]]), np.array([[True], [False], [True], [False]])
    assert RankedScores(scores, labels).average_precisions().tolist() == pytest.approx([(1 + 2 / 3) / 2])


def test_equal_scores_count_together():
    labels = np.array([[True], [False], [False]])
    for order in ([0, 1, 2], [2, 1, 0]):  # whichever stands first
        assert RankedScores(np.full((3, 1), 0.5), labels[order]).average_precisions().tolist() == [pytest.approx(1 / 3)]


@given(cases)
def test_average_precision_is_scikit_learns(case):
    scores, labels = case
    for place, found in enumerate(RankedScores(scores, labels).average_precisions()):
        if labels[:, place].any():
            assert found == pytest.approx(average_precision_score(labels[:, place], scores[:, place]))
        else:
            assert math.isnan(found)


@given(cases, st.integers(0, 100))
def test_weights_count_images_as_often(case, seed):
    scores, labels = case
    times = np.random.default_rng(seed).integers(0, 4, len(scores))
    if not times.any():
        return
    weighted = RankedScores(scores, labels).average_precisions(times[None].astype(float))[0]
    repeated = RankedScores(np.repeat(scores, times, 0), np.repeat(labels, times, 0)).average_precisions()
    np.testing.assert_allclose(weighted, repeated)


def test_classes_without_images_are_left_out_of_the_mean():
    assert mean_over_classes(np.array([0.5, np.nan, 1.0])) == 0.75
    assert math.isnan(mean_over_classes(np.array([np.nan])))


def test_the_interval_holds_the_value_and_shrinks_with_images():
    few, many = (mean_precision(*scores_and_labels(count, 4, 1, 10**6)) for count in (30, 1000))
    for each in (few, many):
        assert each.interval[0] < each.value < each.interval[1]
    assert many.interval[1] - many.interval[0] < (few.interval[1] - few.interval[0]) / 3
    assert mean_precision(*scores_and_labels(30, 4, 1, 10**6)) == few  # the same samples each time


def test_a_single_image_has_no_interval():
    assert mean_precision(np.array([[0.7, 0.2]]), np.array([[True, False]])).interval is None


def test_the_interval_covers_the_value_of_all_images():
    whole = scores_and_labels(20_000, 3, 5, 10**6)
    truth = mean_over_classes(RankedScores(*whole).average_precisions())
    covered = 0
    for at in range(0, 20_000, 200):
        low, high = mean_precision(whole[0][at : at + 200], whole[1][at : at + 200]).interval
        covered += low <= truth <= high
    assert 88 <= covered <= 100  # of 100


def test_paired_differences():
    scores, labels = scores_and_labels(300, 4, 2, 10**6)
    noise = np.random.default_rng(0).random(scores.shape)
    worse = precision_difference(scores, noise, labels)
    assert worse.difference > 0.2
    assert worse.interval[0] > 0
    assert worse.p_value < 0.01
    mirrored = precision_difference(noise, scores, labels)
    assert mirrored.difference == -worse.difference
    assert mirrored.interval == pytest.approx((-worse.interval[1], -worse.interval[0]))
    same = precision_difference(scores, scores, labels)
    assert (same.difference, same.interval, same.p_value) == (0, (0, 0), 1)


@given(cases)
def test_thresholds_have_the_highest_f1_of_all(case):
    scores, labels = case
    for place, threshold in enumerate(best_thresholds(scores, labels)):
        truth, chances = labels[:, place], scores[:, place]
        if not truth.any():
            assert threshold == 0.5
            continue
        best = max(f1_score(truth, chances >= limit, zero_division=0) for limit in [*np.unique(chances), 2])
        assert f1_score(truth, chances >= threshold) == pytest.approx(best)
        assert 0 <= threshold <= 1


def test_a_threshold_lies_between_the_images_and_near_a_half():
    separate = np.array([[0.9], [0.8], [0.2], [0.1]])
    assert best_thresholds(separate, np.array([[True], [True], [False], [False]])) == (0.5,)
    assert best_thresholds(separate, np.array([[True], [False], [False], [False]])) == (pytest.approx(0.85),)
    # 0.85 and 0.1 give the same F1
    assert best_thresholds(np.array([[0.9], [0.8], [0.8], [0.2]]), np.array([[True], [False], [False], [True]])) == (
        pytest.approx(0.85),
    )


@pytest.mark.parametrize(("share", "gap", "images"), [(0.1, 1.0, 300), (0.3, 3.0, 150), (0.1, 5.0, 300)], ids=str)
def test_the_interval_covers_with_rare_classes_and_with_hardly_any_error(share, gap, images):
    draw = np.random.default_rng(4)
    labels = draw.random((60 * images, 6)) < share * np.linspace(0.5, 1.5, 6)
    scores = draw.normal(size=labels.shape) + gap * labels
    truth = mean_over_classes(RankedScores(scores, labels).average_precisions())
    covered = 0
    for at in range(0, len(labels), images):
        low, high = mean_precision(scores[at : at + images], labels[at : at + images]).interval
        covered += low <= truth <= high
    assert covered >= 48  # of 60


def test_a_perfect_network_has_an_interval():
    labels = np.random.default_rng(0).random((40, 3)) < 0.4
    found = mean_precision(labels.astype(float), labels)
    assert found.value == found.interval[1] == 1
    assert 0.8 < found.interval[0] < 1

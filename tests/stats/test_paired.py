"""Paired comparisons against textbook values and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.stats.paired import PairedCounts, agresti_min, mcnemar

scipy_stats = pytest.importorskip("scipy.stats")

few = st.integers(0, 500)


@given(few, few)
def test_mcnemar_is_the_binomial_test_of_scipy(only_first, only_second):
    differing = only_first + only_second
    expected = float(scipy_stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_is_that_of_fagerland_lydersen_and_laake_2013():
    """Table 1 of the paper: airway hyper-responsiveness before and after transplantation, exact test."""
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_agresti_min_is_walds_interval_with_half_an_image_more_in_each_outcome():
    only_first, only_second, images = 7, 3, 21
    b, c, total = only_first + 0.5, only_second + 0.5, images + 2
    spread = 1.959964 * np.sqrt((b + c) - (b - c) ** 2 / total) / total
    expected = ((b - c) / total - spread, (b - c) / total + spread)
    assert agresti_min(only_first, only_second, images) == pytest.approx(expected)


def test_agresti_min_keeps_its_level_where_hardly_any_prediction_differs():
    draw = np.random.default_rng(0)
    shares = np.array([0.01, 0.004])
    held = 0
    for _ in range(2000):
        only_first, only_second, _ = draw.multinomial(400, [*shares, 1 - shares.sum()])
        low, high = agresti_min(int(only_first), int(only_second), 400)
        held += low <= shares[0] - shares[1] <= high
    assert held / 2000 > 0.93


@given(few, few, few)
def test_exchanging_the_classifiers_changes_signs_alone(only_first, only_second, rest):
    images = only_first + only_second + rest + 1
    one, other = PairedCounts(only_first, only_second, images), PairedCounts(only_second, only_first, images)
    assert one.difference == -other.difference
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert one.p_value == other.p_value
    assert -1 <= one.interval[0] <= one.difference <= one.interval[1] <= 1


def test_equal_numbers_of_differing_images_are_no_difference():
    pairs = PairedCounts(5, 5, 1000)
    low, high = pairs.interval
    assert (pairs.difference, pairs.p_value, pairs.significant) == (0, 1, False)
    assert -0.01 < low < 0 < high < 0.01
    assert PairedCounts(0, 6, 10).significant

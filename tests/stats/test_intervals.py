"""Intervals of shares against SciPy and printed values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.stats.intervals import wilson

scipy_stats = pytest.importorskip("scipy.stats")

counts = st.integers(1, 10**6).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(counts)
def test_wilson_is_that_of_scipy(case):
    successes, trials = case
    expected = scipy_stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-6)


@given(counts)
def test_wilson_holds_the_share(case):
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_is_that_of_newcombe_1998_table_1(successes, trials, expected):
    assert wilson(successes, trials) == pytest.approx(expected, abs=5e-5)

"""Quantiles and tails against SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.stats.distributions import binomial_tail, student_quantile

scipy_stats = pytest.importorskip("scipy.stats")


@given(st.floats(0.5, 1 - 1e-9), st.one_of(st.integers(1, 40), st.integers(1, 10**6)))
def test_student_quantiles_are_those_of_scipy(probability, degrees):
    expected = float(scipy_stats.t.isf(1 - probability, degrees))
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("degrees", "expected"), [(1, 12.7062047362), (2, 4.30265272975), (10, 2.22813885199)])
def test_student_quantiles_are_those_of_printed_tables(degrees, expected):
    assert student_quantile(0.975, degrees) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("probability", "degrees"), [(0.4, 3), (1.0, 3), (0.9, 0), (float("nan"), 3)])
def test_student_quantiles_outside_their_range_are_errors(probability, degrees):
    with pytest.raises(ValueError, match="no quantile"):
        student_quantile(probability, degrees)


@given(st.integers(0, 3000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_binomial_tails_are_those_of_scipy(case):
    successes, trials = case
    expected = float(scipy_stats.binom.cdf(successes, trials, 0.5))
    assert binomial_tail(successes, trials) == pytest.approx(expected, rel=1e-9, abs=1e-300)

"""Intervals of what is lost by a change."""

from convwright.stats.intervals import paired_difference


def test_what_is_lost_on_one_image_is_won_on_another():
    lost, low, high = paired_difference(5, 5, 1000)
    assert lost == 0
    assert -0.01 < low < 0 < high < 0.01

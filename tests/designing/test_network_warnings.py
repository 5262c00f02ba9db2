"""Warnings about a design's network: no better than chance, or too short a training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.designing.candidates import has_note, with_note
from convwright.designing.network_warnings import STEEP, network_warnings, no_better_than_chance, steep_rise
from convwright.designing.winner_record import ScoredImages

LONG = [{"epoch": float(at), "val_accuracy": 0.9} for at in range(1, 9)]


def curve(*accuracies: float, epochs: float = 8) -> list[dict[str, float]]:
    return [{"epoch": epochs * (at + 1) / len(accuracies), "val_accuracy": one} for at, one in enumerate(accuracies)]


@given(st.integers(2, 2000), st.floats(0, 1), st.lists(st.integers(1, 500), min_size=2, max_size=10))
def test_a_network_is_doubted_where_the_interval_includes_chance(images: int, share: float, counts: list[int]) -> None:
    score = ScoredImages(round(share * images), images)
    chance = max(counts) / sum(counts)
    warned = bool(no_better_than_chance(score, counts))
    assert warned is (score.interval[0] <= chance)
    if score.accuracy <= chance:
        assert warned


def test_a_network_without_doubts_has_none() -> None:
    assert network_warnings(ScoredImages(900, 1000), [500, 500], LONG, 60.0, 500, 120.0) == []
    assert network_warnings(ScoredImages(900, 1000), [500, 500], [], 60.0, 500, 120.0) == []
    (doubt,) = network_warnings(ScoredImages(520, 1000), [500, 500], LONG, 60.0, 500, 120.0)
    assert "52.0 % (48.9 to 55.1 %), is not significantly higher than the 50.0 % of" in doubt.replace("\xa0", " ")


def test_a_network_of_less_than_an_epoch_is_barely_trained() -> None:
    (doubt,) = network_warnings(ScoredImages(900, 1000), [500, 500], curve(0.5, epochs=0.4), 22.0, 500, 120.0)
    assert "only 0.4 epochs; a design of about 15 minutes would train it for 8 epochs" in doubt


@pytest.mark.parametrize(
    ("accuracies", "images", "steep"),
    [
        ((0.2, 0.4, 0.6, 0.8), 500, True),
        ((0.8, 0.8, 0.8, 0.8), 500, False),
        ((0.8, 0.6, 0.4, 0.2), 500, False),
        ((0.6, 0.9, 0.7, 0.9), 500, False),  # only what is new counts
        ((0.5, 0.5, 0.5, 0.5 + 0.9 * STEEP), 100_000, False),
        ((0.5, 0.5, 0.5, 0.5 + 1.1 * STEEP), 100_000, True),
        ((0.5, 0.5, 0.5, 0.5 + 1.1 * STEEP), 50, False),  # noise
        ((0.8,), 500, False),
        ((0.2, 0.4, float("nan"), 0.8), 500, True),
        ((0.2, 0.4, 0.6, float("nan")), 500, False),
    ],
)
def test_a_curve_that_rises_steeply_at_its_end_is_too_short(accuracies, images: int, steep: bool) -> None:
    assert (steep_rise(curve(*accuracies), images) > 0) is steep
    found = network_warnings(ScoredImages(900, 1000), [500, 500], curve(*accuracies), 60.0, images, 120.0)
    assert any("more time would help" in each for each in found) is steep


@given(st.lists(st.sampled_from(["pretrained", "more depth, less width", "enlarged"]), min_size=1, max_size=3))
def test_names_in_a_list_can_be_told_apart_by_commas(notes: list[str]) -> None:
    name = "ResNet"
    for note in notes:
        name = with_note(name, note)
        assert has_note(name, note)
        assert not has_note(name, "other")
    assert (name.count("("), name.count(")")) == (1, 1)
    assert name.endswith(")")
    assert has_note(f"ResNet, {notes[-1]}", notes[-1]), "names of earlier versions"

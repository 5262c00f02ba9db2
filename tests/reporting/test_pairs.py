from dataclasses import replace
from math import comb

import pytest
import torch

from convwright.reporting import Entry
from convwright.reporting.differences import differences
from convwright.reporting.entry import Numbered
from convwright.reporting.pairs import Pair, compare, front, pairs


def pair(first: int, second: int, images: int, one: Entry) -> Pair:
    return Pair((0, one), (1, one), first, second, images)


def test_answers_are_compared_image_by_image(measured: list[Entry]) -> None:
    one, other = measured[:2]
    assert one.predictions is not None
    assert other.predictions is not None
    found = compare((0, one), (1, other))
    mine, theirs = one.predictions.correct.tolist(), other.predictions.correct.tolist()
    assert found.only_first == sum(a and not b for a, b in zip(mine, theirs, strict=True))
    assert found.only_second == sum(b and not a for a, b in zip(mine, theirs, strict=True))
    assert found.difference == pytest.approx(one.accuracy - other.accuracy)
    low, high = found.interval
    assert low < found.difference < high


def test_mcnemar_is_exact(measured: list[Entry]) -> None:
    expected = 2 * sum(comb(12, k) for k in range(3)) / 2**12
    assert pair(10, 2, 100, measured[0]).p_value == pytest.approx(expected)
    assert pair(5, 5, 100, measured[0]).p_value == 1
    assert pair(0, 0, 100, measured[0]).p_value == 1
    assert pair(10, 2, 100, measured[0]).significant
    assert not pair(7, 3, 100, measured[0]).significant


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says(measured: list[Entry]) -> None:
    """Drawn from known shares: 12 % only the first gets right, 7 % only the second."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.multinomial(torch.tensor([0.12, 0.07, 0.81]), 300 * 2000, replacement=True, generator=generator)
    counts = [(int((row == 0).sum()), int((row == 1).sum())) for row in draws.view(2000, 300)]
    intervals = [pair(first, second, 300, measured[0]).interval for first, second in counts]
    covered = sum(low <= 0.05 <= high for low, high in intervals) / len(intervals)
    assert 0.93 < covered < 0.97


def test_of_many_networks_the_best_is_compared_with_each(measured: list[Entry]) -> None:
    best = max(range(3), key=lambda index: measured[index].accuracy)
    three: list[Numbered] = list(enumerate(measured))
    assert len(pairs(three)) == 3
    six: list[Numbered] = list(enumerate([*measured, *measured]))
    assert [found.first[0] for found in pairs(six)] == [best] * 5
    assert all(found.difference >= 0 for found in pairs(three))


def test_the_front(measured: list[Entry]) -> None:
    points = {(1, 0.5), (2, 0.7), (2, 0.6), (3, 0.7), (4, 0.9), (4, 0.9)}
    entries = [replace(measured[0], accuracy=accuracy, images=price) for price, accuracy in sorted(points)]
    kept = [entries[place] for place in front(entries, lambda entry: entry.images)]
    assert [(entry.images, entry.accuracy) for entry in kept] == [(1, 0.5), (2, 0.7), (4, 0.9)]
    assert front([entries[0], entries[0]], lambda entry: entry.images) == [0, 1]


def test_differences_are_drawn_and_described(measured: list[Entry]) -> None:
    (figure,) = differences(measured)
    plot = figure.panels[0].plot
    assert [trace.x[0] for trace in plot.data] == [pytest.approx(100 * fact["difference"]) for fact in figure.facts]
    for fact, line in zip(figure.facts, figure.findings, strict=True):
        assert line.startswith(f"{fact['first']} against {fact['second']}: {fact['only_first']:,} images")
        assert ("not significant" in line) == (fact["p_value"] >= 0.05)
    assert list(differences(measured[:1])) == []

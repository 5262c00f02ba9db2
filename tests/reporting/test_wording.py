from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from convwright.display import wording as words
from convwright.reporting import Entry, wording


def plain(text: str) -> str:
    return text.replace(words.NBSP, " ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.94, "1.9 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3599.4, "59 min 59 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert plain(words.duration(seconds)) == text


def test_numbers() -> None:
    assert plain(words.count(3_331_122)) == "3.33 M"
    assert plain(words.size(39_936)) == "39.9 kB"
    assert plain(words.percent(0.9721)) == "97.2 %"
    assert plain(words.interval((0.930, 0.989))) == "93.0 to 98.9 %"
    assert [words.rate(value) for value in (1062.7, 4.23)] == ["1,063", "4.2"]
    assert [words.listed(names) for names in ("A", "AB", "ABC")] == ["A", "A and B", "A, B and C"]
    assert [words.number_word(number) for number in (3, 1200)] == ["three", "1,200"]


def summary(entries: Sequence[Entry]) -> str:
    return plain(wording.summary(entries))


def test_summary_says_when_intervals_overlap(entry: Callable[..., Entry]) -> None:
    text = summary([entry("DenseNet-BC", 345), entry("SE-ResNet", 350), entry("EfficientNet", 200)])
    assert text.startswith("Three networks, trained on digits and measured on the same 359 test images.")
    assert "SE-ResNet is the most accurate, with 97.5 % correct (95 % interval 95.3 to 98.7 %)" in text
    assert "overlaps with the interval of DenseNet-BC, not with the others', so 359 images do not show" in text


def test_summary_says_when_one_is_clear_of_all(entry: Callable[..., Entry]) -> None:
    text = summary([entry("DenseNet-BC", 100), entry("SE-ResNet", 350)])
    assert "no other interval overlaps" in text
    assert "settle" not in text


def test_summary_of_equals(entry: Callable[..., Entry]) -> None:
    text = summary([entry("DenseNet-BC", 350), entry("SE-ResNet", 350)])
    assert "DenseNet-BC and SE-ResNet share the highest accuracy, with 97.5 % correct" in text


def test_summary_says_what_is_cheapest_and_what_that_gives_up(entry: Callable[..., Entry]) -> None:
    entries = [entry("DenseNet-BC", 300), entry("SE-ResNet", 350)]
    fewest = min(entries, key=lambda e: e.cost.macs)
    best = max(entries, key=lambda e: e.accuracy)
    text = summary(entries)
    assert f"{fewest.title} is the cheapest, with {plain(words.count(fewest.cost.macs))} multiply-adds (MACs)" in text
    assert f"{plain(words.count(fewest.cost.params))} parameters" in text
    times = best.cost.macs / fewest.cost.macs
    assert f"Against {best.title}, {fewest.title} takes {times:.1f} times fewer MACs" in text
    assert "13.9 percentage points less accurate" in text


def test_accuracies_on_different_images_are_not_ranked(entry: Callable[..., Entry]) -> None:
    text = summary([entry("DenseNet-BC", 300), replace(entry("SE-ResNet", 350), split="val", images=143)])
    assert "not all measured on the same images" in text
    assert "most accurate" not in text


def test_summary_of_one_network(entry: Callable[..., Entry]) -> None:
    text = summary([entry("SE-ResNet", 350)])
    assert text.startswith(
        "SE-ResNet classifies 97.5 % of 359 test images of digits correctly (95 % interval 95.3 to 98.7 %)"
    )
    assert "multiply-adds (MACs) an image" in text


def test_a_folder_is_named_by_its_last_part(entry: Callable[..., Entry]) -> None:
    given = entry("SE-ResNet")
    config = given.run.config.model_copy(update={"data": "/somewhere/of/mine/flowers"})
    assert wording.data_name(replace(given, run=replace(given.run, config=config))) == "flowers"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            (0, 2, 3),
            "Compared image by image, the difference from SE-ResNet (p = 0.5) and EfficientNet (p = 0.25) is not "
            "statistically significant.",
        ),
        (
            (0, 3, 12),
            "it is significantly better than EfficientNet, while the difference from SE-ResNet (p = 0.25) is not "
            "statistically significant.",
        ),
        ((0, 12, 14), "Compared image by image, it is significantly better than SE-ResNet and EfficientNet."),
    ],
)
def test_summary_says_what_comparing_image_by_image_settles(
    measured: list[Entry], wrong: tuple[int, ...], expected: str
) -> None:
    """The first network is right on 345 of 359 images, the others on so many fewer of the same."""
    entries = []
    for entry, fewer in zip(measured, wrong, strict=True):
        assert entry.predictions is not None
        labels = entry.predictions.labels
        predicted = torch.where(torch.arange(len(labels)) < 345 - fewer, labels, (labels + 1) % 10)
        predictions = replace(entry.predictions, predicted=predicted)
        entries.append(replace(entry, predictions=predictions, accuracy=(345 - fewer) / 359, interval=(0.9, 0.99)))
    assert expected in summary(entries)

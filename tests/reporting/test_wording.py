import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convwright
from convwright.display import wording as words
from convwright.reporting import Entry, compose, measuring, wording
from convwright.reporting.entry import Latency


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
    fewer = plain(words.times_fewer(best.cost.macs / fewest.cost.macs, "MACs"))
    assert f"Against {best.title}, {fewest.title} takes {fewer} and is" in text
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


SINGULAR = re.compile(
    r"(?<![\d.,\u2212-])1[\u00a0 ](?:images|errors|classes|epochs|threads|predictions|layers|operations)\b"
)
"""A count of one with a noun in the plural."""


@given(number=st.integers(0, 10**7))
def test_counts_agree_with_their_nouns(number: int) -> None:
    text = words.counted(number, "test image")
    assert text == f"{number:,} test image{'' if number == 1 else 's'}"
    assert words.counted(number, "class", "classes").endswith("class" if number == 1 else "classes")


@given(ratio=st.floats(1, 1e6))
def test_ratios_are_never_once_as_many(ratio: float) -> None:
    text = plain(words.times_fewer(ratio, "MACs"))
    assert not re.search(r"(?<![\d.,])(?:1|1\.0|0|0\.0) (?:times|%)", text)
    assert "MACs" in text


def test_ratios() -> None:
    texts = [plain(words.times_fewer(ratio, "MACs")) for ratio in (1, 1.04, 1.25, 2, 9.97, 1234)]
    assert texts == [
        "about as many MACs",
        "about as many MACs",
        "20 % fewer MACs",
        "2.0 times fewer MACs",
        "10 times fewer MACs",
        "1,234 times fewer MACs",
    ]


def test_a_report_on_one_image_has_no_plural_of_one(measured: list[Entry]) -> None:
    """Every sentence and the page of networks that were measured on a single image."""
    entries = []
    for entry in measured:
        assert entry.predictions is not None
        data = entry.predictions.data
        assert data.test is not None
        part = data.test.choose(torch.tensor([0]))
        predictions = measuring.predict_splits(entry.predictions.predictor, data, (part,))
        interval, accuracy = predictions.measures.interval, predictions.measures.accuracy
        entries.append(replace(entry, predictions=predictions, images=1, accuracy=accuracy, interval=interval))
    for group in (entries, entries[:1]):
        report = compose(None, group)
        text = f"{report} {report.to_json()} {report._repr_html_()}"
        assert "1 test image of digits" in plain(text)
        assert not SINGULAR.findall(plain(text))


def test_plurals_of_one_would_be_noticed() -> None:
    assert SINGULAR.search("on 1 images")
    assert not SINGULAR.search("on 21 images, 0.1 images, 1 image and 11 classes")


def test_a_latency_of_a_busy_machine_is_marked(entry: Callable[..., Entry]) -> None:
    calm, busy = (replace(entry("SE-ResNet"), latency=Latency(0.0096, 2, doubt)) for doubt in ("", "threads waited"))
    assert plain(wording.latency(calm)) == "9.6 ms"
    assert plain(wording.latency(busy)) == "9.6 ms (busy)"
    assert wording.busy(calm) is None
    assert "was measured while the machine was busy (threads waited)" in str(wording.busy(busy))
    report = compose(None, [busy])
    assert "9.6 ms (busy)" in str(report)
    assert 'latency_doubt": "threads waited' in report.to_json()


def test_the_table_fits_80_columns(entry: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("short", "a name of middle length", "x" * 60)
    entries = [
        replace(entry("SE-ResNet", title=name), latency=Latency(0.0123, 2, "busy" * (index > 0)))
        for index, name in enumerate(names)
    ]
    text = str(compose(None, entries))
    assert max(map(len, text.splitlines())) <= 80
    assert all(name in text for name in names)


def test_messages_of_the_library_name_no_options_of_the_command_line() -> None:
    """A message names parameters, which the command line replaces by its options."""
    option = re.compile(r"\s--[a-z]")
    assert option.search("measure again with --remeasure")
    root = Path(convwright.__file__).parent
    packages = ("engines", "exporting", "benchmarking", "reporting", "reproduction")
    files = [path for package in packages for path in root.joinpath(package).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    assert len(texts) > 1000
    assert [text for text in texts if isinstance(text, str) and option.search(text)] == []


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=("C",)), max_size=30), max_size=8))
def test_short_names_fit_and_keep_the_end_where_the_beginning_is_the_same(names: list[str]) -> None:
    short = words.all_shortened(names, 10)
    assert len(short) == len(names)
    assert all(len(one) <= 10 for one in short)
    assert all(one == name for one, name in zip(short, names, strict=True) if len(name) <= 10)
    numbered = [f"a class with the number {number}" for number in range(99)]
    assert len(set(words.all_shortened(numbered, 14))) == 99

"""Evaluations and comparisons as results: fields, text, HTML and figures."""

import dataclasses
import json

import pytest
import torch
from torch.nn.functional import one_hot

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ArgumentError, ConvwrightWarning
from convwright.evaluation.comparison import Comparison
from convwright.evaluation.measures import Tally
from convwright.evaluation.record import ImagePredictions
from convwright.evaluation.result import Evaluation
from convwright.stats.intervals import wilson
from convwright.training.loop import train
from convwright.training.plan import plan
from convwright.training.run import Run


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print lines that are not wrapped."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), recipe={"crop": 1, "flip": True}, epochs=1)
    train(config, network, data, path)
    return path


def evaluation(predicted, labels, classes, key="same"):
    """Return an evaluation with these predictions, as indices of classes."""
    predicted, labels = torch.tensor(predicted), torch.tensor(labels)
    tally = Tally(len(classes))
    tally.add(3 * one_hot(predicted, len(classes)).float(), labels)
    confidence = torch.full((len(labels),), 0.9, dtype=torch.float64)
    images = tuple(("test", number) for number in range(len(labels)))
    record = ImagePredictions(labels, predicted, confidence, images, key)
    return Evaluation("runs/a", "resnet18", "photos", "test", ("as it is",), classes, tally.measures(), record)


def test_fields_are_those_of_json(run, capsys):
    found = cw.evaluate(run)
    facts = json.loads(found.to_json())
    assert facts == json.loads(json.dumps(found.to_dict()))
    assert facts["run"] == str(run)
    assert (found.accuracy, found.loss, found.images) == (facts["accuracy"], facts["loss"], 359)
    assert found.interval == wilson(int(found.confusion.trace()), 359)
    assert [score.name for score in found.classes] == [row["class"] for row in facts["classes"]] == list("0123456789")
    assert found.classes[3].recall == facts["classes"][3]["recall"]
    worst = found.most_confused(1)[0]
    assert found.confusion[int(worst.label), int(worst.predicted_as)] == worst.images
    assert worst.share == worst.images / found.classes[int(worst.label)].images
    assert found.predictions.correct.sum() == found.confusion.trace()
    assert capsys.readouterr() == ("", "")


def test_text_and_html_show_the_same(run):
    found = cw.evaluate(Run.open(run), split="val")
    assert str(found).startswith(f"{found.network}: accuracy {found.accuracy:.2%} (95 % interval ")
    assert "calibration error" in str(found)
    html = found._repr_html_()
    assert f"accuracy {found.accuracy:.2%}" in html
    assert (html.count("<table>"), html.count('<table class="matrix">')) == (1, 1)
    assert "Confusion matrix" in html
    heat, fault, _, reliability = found.figure().data
    cells = [cell for trace in (heat, fault) for row in trace.text for cell in row if cell]
    assert sum(map(int, cells)) == found.images
    assert len(reliability.x) == sum(part.images > 0 for part in found.reliability)


def test_predictions_are_written_for_each_image(run, tmp_path):
    found = cw.evaluate(run, split="all", predictions=tmp_path / "images.csv")
    assert (tmp_path / "images.csv").read_text() == found.to_csv()
    assert found.to_csv().count("\n") == found.images + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "validation"}, r"split: must be 'test' or 'val' or 'train' or 'all', not 'validation'"),
        ({"tta": 1}, "tta: must be true or false, not 1"),
        ({"data": "nowhere"}, "data: .*no folder nowhere"),
        ({"device": "abacus"}, "device: no device 'abacus' on this machine; the device is cpu, cuda or auto"),
        ({"predictions": "nowhere/images.csv"}, "predictions: nowhere/images.csv: there is no folder nowhere"),
    ],
)
def test_wrong_arguments_are_named(options, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=message):
        cw.evaluate(run, **options)


def test_a_run_that_has_not_ended_is_evaluated_with_a_warning(run, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "summary.json").unlink()
    with pytest.warns(ConvwrightWarning, match="copy has not ended; these are its best weights so far"):
        assert cw.evaluate(copy).accuracy == cw.evaluate(run).accuracy


def test_of_many_classes_the_worst_are_shown():
    labels = list(range(60)) * 3
    classes = tuple(f"class {number}" for number in range(60))
    text = str(evaluation([8 if label == 7 else label for label in labels], labels, classes))
    assert "the 40 classes of lowest F1" in text
    assert text.index("class 7 ") < text.index("class 8 ") < text.index("class 0 ")
    assert text.splitlines()[-1].split() == ["class", "7", "class", "8", "3", "100.0%"]
    perfect = str(evaluation(labels, labels, classes))
    assert perfect.splitlines()[-1] == "Every image is predicted correctly."


def test_columns_of_long_names_are_numbered():
    lines = str(evaluation([0, 1], [0, 0], ("cat", "a very long name"))).splitlines()
    assert lines[-3].split()[-2:] == ["(1)", "(2)"]
    assert lines[-2].split() == ["(1)", "cat", "1", "1"]


def test_a_figure_of_many_classes_shows_those_that_are_confused():
    labels = list(range(150)) * 2
    classes = tuple(f"class {number}" for number in range(150))
    heat, *_ = evaluation([8 if label == 7 else label for label in labels], labels, classes).figure().data
    assert list(heat.x) == ["class 7", "class 8"]


def test_a_comparison_by_hand():
    labels = [0] * 20
    first = evaluation([0] * 16 + [1] * 4, labels, ("a", "b"))
    second = evaluation([1] * 6 + [0] * 12 + [1] * 2, labels, ("a", "b"))
    found = Comparison(first, second)
    assert (found.only_first, found.only_second, found.images) == (6, 2, 20)
    assert found.difference == pytest.approx(0.2)
    assert found.p_value == pytest.approx(2 * (1 + 8 + 28) / 2**8)
    low, high = found.interval
    assert low < 0 < 0.2 < high
    assert not found.significant
    facts = json.loads(found.to_json())
    assert facts == json.loads(json.dumps(found.to_dict()))
    assert (facts["first"]["accuracy"], facts["second"]["accuracy"]) == (0.8, 0.6)
    assert "difference +20.00 percentage points" in str(found)
    assert "p = 0.289, statistically indistinguishable at 5 %" in str(found)
    assert "<table>" in found._repr_html_()
    assert Comparison(second, first).difference == pytest.approx(-0.2)


def test_a_run_compared_with_itself(run):
    found = cw.compare(run, Run.open(run), split="val")
    assert (found.difference, found.p_value, found.only_first, found.only_second) == (0, 1, 0, 0)


NAMES = {
    "digits": tuple("0123456789"),
    "words": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "twenty": tuple(f"a class with the number {number}" for number in range(20)),
    "many": tuple(f"a class with the number {number}" for number in range(60)),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_text_fits_80_columns(names, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    labels = [*range(len(names))] * 12
    predicted = [0 if place % 7 == 0 else label for place, label in enumerate(labels)]
    found = evaluation(predicted, labels, names)
    assert not [line for line in str(found).splitlines() if len(line) > 80]
    runs = Comparison(found, dataclasses.replace(found, run="runs/another", network="densenet_bc_l40_k12|scale:w=2"))
    assert not [line for line in str(runs).splitlines() if len(line) > 80]


def test_a_confusion_matrix_that_does_not_fit_gives_way_to_pairs(monkeypatch):
    names, labels = NAMES["twenty"], [*range(20)] * 3
    found = evaluation([1, *labels[1:]], labels, names)
    monkeypatch.setenv("COLUMNS", "80")
    assert "most often confused" in str(found)
    tables = [block.to_html() for block in found.blocks()]
    monkeypatch.setenv("COLUMNS", "300")
    assert "most often confused" not in str(found)
    assert "(20)" in str(found)
    assert [block.to_html() for block in found.blocks()] == tables, "a page does not depend on the terminal"


def test_tables_of_a_page_scroll_in_a_box_of_their_own(run, tmp_path):
    cw.evaluate(run).save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count('<div class="scroll"><table>') == page.count('<table class="matrix">') == 1
    assert ".scroll { overflow-x: auto; }" in page

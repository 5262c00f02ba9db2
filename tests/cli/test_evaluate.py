"""evaluate: what it measures, on which images, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.checksums import Checksums
from convwright.cli.scores import as_text
from convwright.data import open_dataset
from convwright.files import digest_of
from convwright.training.loop import train
from convwright.training.plan import plan


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A few steps on the digits: right often enough, wrong often enough."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    data = open_dataset("digits")
    recipe = {"crop": 1, "flip": True}
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), recipe=recipe, epochs=3)
    train(config, network, data, path)
    return path


@pytest.fixture
def evaluated(run, convwright):
    def evaluate(*arguments):
        answer = convwright("evaluate", run, "--json", *arguments)
        assert answer.status == 0, answer.err
        return json.loads(answer.out)

    return evaluate


def save_digits(root, count, names=str, mode="L", classes=range(10)):
    """Write the first digits as images, in folders by class."""
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images[:count], data.target[:count], strict=True)):
        if label in classes:
            folder = root / names(label)
            folder.mkdir(exist_ok=True, parents=True)
            grey = Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8))
            grey.convert(mode).save(folder / f"{number}.png")
    return root


def test_json_tells_every_measure(evaluated):
    facts = evaluated()
    assert (facts["split"], facts["data"], facts["images"], facts["views"]) == ("test", "digits", 359, ["as it is"])
    confusion = np.array(facts["confusion"])
    assert confusion.sum() == 359
    assert facts["accuracy"] == pytest.approx(np.trace(confusion) / 359)
    assert 0.2 < facts["accuracy"] < facts["top5"] <= 1
    assert facts["interval"][0] < facts["accuracy"] < facts["interval"][1]
    assert [row["class"] for row in facts["classes"]] == list("0123456789")
    assert [row["images"] for row in facts["classes"]] == confusion.sum(1).tolist()
    assert len(facts["reliability"]) == 15
    gaps = [row["images"] * abs(row["accuracy"] - row["confidence"]) for row in facts["reliability"] if row["images"]]
    assert facts["calibration_error"] == pytest.approx(sum(gaps) / 359)


def test_text_tells_them_too(run, convwright, evaluated):
    facts = evaluated()
    answer = convwright("evaluate", run)
    assert f"accuracy {facts['accuracy']:.2%} (95 % interval" in answer.out
    assert f"top-5 accuracy {facts['top5']:.2%}" in answer.out
    assert f"calibration error {facts['calibration_error']:.2%}" in answer.out
    lines = answer.out.splitlines()
    row = next(line.split() for line in lines if line.startswith("3 "))
    assert row[1:4] == [
        str(facts["classes"][3]["images"]),
        *(f"{facts['classes'][3][name]:.1%}" for name in ("precision", "recall")),
    ]
    matrix = lines[-10:]
    assert matrix[3].split() == ["3", *(str(count or "·") for count in facts["confusion"][3])]


def test_all_images_are_those_of_the_splits(evaluated):
    parts = [evaluated("--split", name) for name in ("train", "val", "test")]
    every = evaluated("--split", "all")
    assert every["images"] == sum(part["images"] for part in parts) == 1797
    assert (np.array(every["confusion"]) == sum(np.array(part["confusion"]) for part in parts)).all()


def test_augmentation_is_told_and_changes_the_answers(run, convwright, evaluated):
    plain, augmented = evaluated(), evaluated("--tta")
    assert len(augmented["views"]) == 10
    assert "1 px left mirrored" in augmented["views"]
    assert augmented["loss"] != plain["loss"]
    assert "averaged over 10 views" in convwright("evaluate", run, "--tta").out


def test_predictions_of_each_image(tmp_path, evaluated):
    facts = evaluated("--predictions", tmp_path / "answers.csv", "--split", "all")
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["split", "image", "label", "prediction", "probability"]
    assert len(rows) == 1797
    assert [int(row["image"]) for row in rows if row["split"] == "test"] == list(range(359))
    assert sum(row["label"] == row["prediction"] for row in rows) == np.trace(facts["confusion"])
    confidence = sum(row["images"] * (row["confidence"] or 0) for row in facts["reliability"])
    assert sum(float(row["probability"]) for row in rows) == pytest.approx(confidence, rel=1e-4)
    labels = [int(row["label"]) for row in rows if row["split"] == "test"]
    assert labels == open_dataset("digits").test.labels.tolist()


def test_another_folder_with_the_same_classes(tmp_path, evaluated):
    data = save_digits(tmp_path / "data", 300)
    facts = evaluated("--data", data)
    assert (facts["split"], facts["images"], facts["data"]) == ("all", 300, str(data))
    assert facts["accuracy"] > 0.2
    colour = save_digits(tmp_path / "colour", 300, mode="RGB")
    assert evaluated("--data", colour)["confusion"] == facts["confusion"]


def test_classes_are_matched_by_name(tmp_path, convwright):
    """A run that knows its classes in another order than the folder gives the same answers."""
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.5)
    train(config, network, data, tmp_path / "run")
    folder = save_digits(tmp_path / "data", 200)
    before = json.loads(convwright("evaluate", tmp_path / "run", "--data", folder, "--json").out)
    names = list("9876543210")
    content = json.dumps(names).encode()
    (tmp_path / "run" / "classes.json").write_bytes(content)
    Checksums(tmp_path / "run").record({"classes.json": digest_of(content)})
    other = save_digits(tmp_path / "renamed", 200, names=lambda label: names[label])
    after = json.loads(convwright("evaluate", tmp_path / "run", "--data", other, "--json").out)
    assert [row["class"] for row in after["classes"]] == names
    assert after["confusion"] == before["confusion"]
    assert after["loss"] == pytest.approx(before["loss"])


@pytest.mark.parametrize(
    ("names", "classes", "told"),
    [
        (str, range(8), "it lacks 8, 9"),
        (lambda label: "ten" if label == 3 else str(label), range(10), "it lacks 3 and has also ten"),
    ],
)
def test_other_classes_are_refused(names, classes, told, run, tmp_path, convwright):
    data = save_digits(tmp_path / "data", 200, names=names, classes=classes)
    answer = convwright("evaluate", run, "--data", data)
    assert answer.status == 2
    assert answer.message.endswith(told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--split", "validation"], "--split is test, val, train or all, not 'validation'"),
        (["--data", "nowhere"], "no folder nowhere"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--predictions", "nowhere/answers.csv"], "there is no folder nowhere"),
    ],
)
def test_wrong_use(arguments, told, run, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = convwright("evaluate", run, *arguments)
    assert answer.status == 2
    assert told in answer.message


def test_predictions_that_cannot_be_written(run, tmp_path, convwright):
    (tmp_path / "answers.csv").mkdir()
    answer = convwright("evaluate", run, "--predictions", tmp_path / "answers.csv")
    assert answer.status == 2
    assert "answers.csv is a folder; name a file in it" in answer.message


def test_images_that_have_changed_are_told(tmp_path, convwright):
    folder = save_digits(tmp_path / "data", 200)
    data = open_dataset(str(folder))
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2)
    train(config, network, data, tmp_path / "run")
    assert "changed" not in convwright("evaluate", tmp_path / "run").err
    next((folder / "3").iterdir()).unlink()
    answer = convwright("evaluate", tmp_path / "run")
    assert answer.status == 0
    assert "has changed since training" in answer.err


def test_many_classes_are_shown_by_their_worst():
    import torch

    from convwright.evaluation.measures import Tally

    classes = tuple(f"class {number}" for number in range(60))
    labels = torch.arange(60).repeat(3)
    predicted = torch.where(labels == 7, 8, labels)
    tally = Tally(60)
    tally.add(torch.nn.functional.one_hot(predicted, 60).float(), labels)
    text = as_text(tally.measures(), classes)
    assert "the 40 classes of lowest F1" in text
    assert text.index("class 7 ") < text.index("class 8 ") < text.index("class 0 ")
    assert text.splitlines()[-1].split() == ["class", "7", "class", "8", "3", "100.0%"]


def test_long_names_are_numbered_in_the_matrix():
    import torch

    from convwright.evaluation.measures import Tally

    tally = Tally(2)
    tally.add(torch.eye(2), torch.tensor([0, 0]))
    lines = as_text(tally.measures(), ("cat", "a very long name")).splitlines()
    assert lines[-3].split()[-2:] == ["(1)", "(2)"]
    assert lines[-2].split() == ["(1)", "cat", "1", "1"]

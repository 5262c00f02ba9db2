"""evaluate and compare on the command line: what they measure, on which images, and what they refuse."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.checksums import Checksums
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


def write_list(path):
    """Write digits as files, and a list of them with two columns of labels and a column of no usual name."""
    files = sorted(save_digits(path.parent / "files", 100, lambda label: str(label)).rglob("*.png"))
    rows = [(file.relative_to(path.parent), file.parent.name, (int(file.parent.name) + 1) % 10) for file in files]
    path.write_text("place,truth,next\n" + "".join(f"{place},{truth},{after}\n" for place, truth, after in rows))
    return path


@pytest.mark.parametrize("command", ["evaluate", "compare", "report"])
def test_columns_of_another_list_are_options(command, run, convwright, tmp_path):
    path, runs = write_list(tmp_path / "list.csv"), [run, run] if command == "compare" else [run]
    given = ("--json", "--data", path)
    without = convwright(command, *runs, *given)
    assert (without.status, "--path-column: missing" in without.message) == (2, True)
    named = ("--path-column", "place", "--label-column")
    found = convwright(command, *runs, *given, *named, "truth")
    assert found.status == 0, found.err
    shown = json.loads(found.out)
    first = {"evaluate": shown, "compare": shown.get("first"), "report": shown.get("networks", [None])[0]}[command]
    data = cw.open_data(path, path_column="place", label_column="truth")
    assert first["accuracy"] == cw.evaluate(run, data=data).accuracy
    wrong = convwright(command, *runs, *given, *named, "nothing")
    assert (wrong.status, "--label-column: " in wrong.message) == (2, True)
    alone = convwright(command, *runs, "--label-column", "truth")
    assert (alone.status, alone.message) == (2, "convwright: --label-column: is about --data, which is not given")


def test_another_column_of_the_own_list_has_other_labels(convwright, tmp_path):
    path = write_list(tmp_path / "list.csv")
    options = ("--data", path, "--path-column", "place", "--network", "cifar_resnet8|scale:w=0.25", "--epochs", 0.1)
    assert convwright("train", *options, "--label-column", "truth", "--no-fused", "--out", tmp_path / "run").status == 0
    own = cw.evaluate(tmp_path / "run")
    assert (own.split, own.own_data) == ("val", True)
    answer = convwright("evaluate", tmp_path / "run", "--json", "--data", path, "--label-column", "truth")
    assert json.loads(answer.out)["accuracy"] == own.accuracy
    answer = convwright("evaluate", tmp_path / "run", "--json", "--data", path, "--label-column", "next")
    other = json.loads(answer.out)
    assert (other["split"], other["images"]) == ("all", 100)


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


def test_json_has_every_measure(evaluated):
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


def test_text_shows_them_too(run, convwright, evaluated):
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


def test_augmentation_is_reported_and_changes_the_predictions(run, convwright, evaluated):
    plain, augmented = evaluated(), evaluated("--tta")
    assert len(augmented["views"]) == 10
    assert "1 px left mirrored" in augmented["views"]
    assert augmented["loss"] != plain["loss"]
    assert "averaged over 10 views" in convwright("evaluate", run, "--tta").out


def test_predictions_of_each_image(tmp_path, evaluated):
    facts = evaluated("--predictions", tmp_path / "predictions.csv", "--split", "all")
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
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
    """A run whose classes have another order than the folder's has the same results."""
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


def test_other_classes_are_refused(run, tmp_path, convwright):
    data = save_digits(tmp_path / "data", 200, names=lambda label: "ten" if label == 3 else str(label))
    answer = convwright("evaluate", run, "--data", data)
    assert answer.status == 2
    assert "has classes that the network was not trained on (ten); its 10 classes are 0, 1, 2" in answer.message


def test_some_of_the_classes(run, tmp_path, convwright):
    """A folder of fewer classes has the results of these classes, and a message says so."""
    whole = json.loads(convwright("evaluate", run, "--data", save_digits(tmp_path / "all", 200), "--json").out)
    answer = convwright("evaluate", run, "--data", save_digits(tmp_path / "some", 200, classes=[2, 5, 7]), "--json")
    assert answer.status == 0
    assert "has images of 3 of the 10 classes" in answer.err
    part = json.loads(answer.out)
    assert [row for name, row in enumerate(part["confusion"]) if name in (2, 5, 7)] == [
        row for name, row in enumerate(whole["confusion"]) if name in (2, 5, 7)
    ]
    assert part["images"] == sum(map(sum, part["confusion"])) == sum(sum(whole["confusion"][n]) for n in (2, 5, 7))


@pytest.mark.parametrize("layout", ["{name}/0.png", "test/{name}/0.png", "val/{name}/0.png"])
def test_one_image_of_each_class(layout, run, tmp_path, evaluated):
    """To evaluate, a class needs no more than one image, and the data no training split."""
    source = save_digits(tmp_path / "source", 200)
    for name in ("3", "8"):
        target = tmp_path / "data" / layout.format(name=name)
        target.parent.mkdir(parents=True)
        shutil.copy(next((source / name).iterdir()), target)
    facts = evaluated("--data", tmp_path / "data")
    assert facts["images"] == 2
    assert facts["split"] == {"t": "test", "v": "all", "{": "all"}[layout[0]]


def test_a_list_to_evaluate(run, tmp_path, evaluated):
    source = save_digits(tmp_path / "source", 200)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in source.rglob("*.png"))
    rows = [f"{name},{name.split('/')[1]}" for name in files]
    (tmp_path / "list.csv").write_text("\n".join(["file,class", *rows]))
    expected = evaluated("--data", source)
    assert evaluated("--data", tmp_path / "list.csv")["confusion"] == expected["confusion"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "validation"], "--split: must be 'test' or 'val' or 'train' or 'all', not 'validation'"),
        (["--data", "nowhere"], "no folder nowhere"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--predictions", "nowhere/predictions.csv"], "there is no folder nowhere"),
    ],
)
def test_wrong_use(arguments, message, run, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = convwright("evaluate", run, *arguments)
    assert answer.status == 2
    assert message in answer.message


def test_predictions_that_cannot_be_written(run, tmp_path, convwright):
    (tmp_path / "predictions.csv").mkdir()
    answer = convwright("evaluate", run, "--predictions", tmp_path / "predictions.csv")
    assert answer.status == 2
    assert "predictions.csv is a folder; name a file in it" in answer.message


def test_images_that_have_changed_are_reported(tmp_path, convwright):
    folder = save_digits(tmp_path / "data", 200)
    data = open_dataset(str(folder))
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2)
    train(config, network, data, tmp_path / "run")
    assert "changed" not in convwright("evaluate", tmp_path / "run").err
    next((folder / "3").iterdir()).unlink()
    answer = convwright("evaluate", tmp_path / "run")
    assert answer.status == 0
    assert "has changed since training" in answer.err


def test_a_page_with_the_confusion_matrix(run, tmp_path, convwright):
    answer = convwright("evaluate", run, "--html", tmp_path / "page.html")
    assert answer.status == 0, answer.err
    page = (tmp_path / "page.html").read_text()
    assert "Confusion matrix" in page
    assert "95 % interval" in page


def test_two_runs_are_compared_on_the_same_images(run, tmp_path, convwright):
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2)
    train(config, network, data, tmp_path / "short")
    answer = convwright("compare", run, tmp_path / "short", "--json")
    assert answer.status == 0, answer.err
    facts = json.loads(answer.out)
    first, second = facts["first"]["accuracy"], facts["second"]["accuracy"]
    assert facts["difference"] == pytest.approx(first - second)
    assert facts["only_first"] - facts["only_second"] == round(359 * (first - second))
    assert facts["interval"][0] < facts["difference"] < facts["interval"][1]
    assert facts["p_value"] < 0.01
    text = convwright("compare", run, tmp_path / "short").out
    assert "a significant difference at 5 %" in text
    same = convwright("compare", run, run).out
    assert "p = 1, statistically indistinguishable at 5 %" in same


def test_runs_on_different_data_are_not_compared(run, tmp_path, convwright):
    folder = save_digits(tmp_path / "data", 200)
    data = open_dataset(str(folder))
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2)
    train(config, network, data, tmp_path / "run")
    answer = convwright("compare", run, tmp_path / "run")
    assert answer.status == 2
    assert "--data: must be given for runs that were trained on different data" in answer.message
    assert convwright("compare", run, tmp_path / "run", "--data", folder).status == 0


def test_runs_that_hold_out_different_images_are_not_compared(run, tmp_path, convwright):
    data = open_dataset("digits", seed=5)
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2, seed=5)
    train(config, network, data, tmp_path / "run")
    answer = convwright("compare", run, tmp_path / "run", "--split", "val")
    assert answer.status == 2
    assert "--split: the runs have different val images" in answer.message

"""Runs over images with several labels: trained, resumed, evaluated and compared."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

import convwright as cw
from convwright.errors import ArgumentError, ConvwrightWarning, DataError
from convwright.evaluation.multi_label import MultiLabelMeasures
from convwright.evaluation.multi_label_result import label_table
from convwright.training.run import Run

from .conftest import CLASSES, opened, tiles


def test_training_learns_and_records_mean_average_precision(run):
    rows = run.metrics
    assert rows[-1]["val_map"] > rows[0]["val_map"]
    assert rows[-1]["val_map"] > 0.6
    assert run.summary.val_map == max(row["val_map"] for row in rows)
    assert run.summary.val_accuracy is None
    assert "train_accuracy" not in rows[0]
    assert "mean average precision" in str(run)
    curves = [trace.y for trace in run.figure().data if "validation: %{y:.1%}" in (trace.hovertemplate or "")]
    assert curves == [tuple(row["val_map"] for row in rows)]


def test_a_stopped_run_ends_in_the_same_weights(data, tmp_path):
    class Stop:
        def on_step(self, step):
            if step.number == 20:
                raise KeyError("stopped")

    options = {"network": "cifar_seresnet8|scale:w=0.25", "epochs": 2, "batch_size": 32}
    whole = cw.train(data, **options, out=tmp_path / "whole")
    with pytest.raises(KeyError):
        cw.train(data, **options, out=tmp_path / "stopped", callbacks=[Stop()])
    again = cw.resume(tmp_path / "stopped")
    assert again.thresholds == whole.thresholds
    assert [row["val_map"] for row in again.metrics] == [row["val_map"] for row in whole.metrics]
    assert Run.open(again.path).weights.read_bytes() == Run.open(whole.path).weights.read_bytes()


def test_measures_are_those_of_scikit_learn(run, arrays):
    found = run.evaluate()
    labels, scores = arrays[1][640:], found.measures.probabilities.numpy()
    values = [average_precision_score(labels[:, place], scores[:, place]) for place in range(10)]
    assert [score.average_precision for score in found.classes] == pytest.approx(values)
    assert found.mean_average_precision == pytest.approx(np.mean(values))
    assert found.interval[0] <= found.mean_average_precision <= found.interval[1]
    predicted = scores >= np.array(run.thresholds)
    assert found.micro_f1 == pytest.approx(f1_score(labels, predicted, average="micro"))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert [score.f1 for score in found.classes] == pytest.approx(list(f1_score(labels, predicted, average=None)))
    assert [score.images for score in found.classes] == labels.sum(0).tolist()
    assert found.subset_accuracy == (predicted == labels).all(1).mean()


def test_with_one_label_an_image_measures_are_those_of_scikit_learn(data, arrays, tmp_path):
    images, labels = arrays
    one = labels.sum(1) == 1
    alone = np.zeros_like(labels[one])
    alone[np.arange(one.sum()), labels[one].argmax(1)] = True
    several = cw.open_data(
        images=images[one][:150],
        labels=alone[:150],
        val_images=images[one][150:],
        val_labels=alone[150:],
        classes=CLASSES,
        flip=False,
    )
    run = cw.train(several, network="cifar_seresnet8|scale:w=0.25", epochs=2, batch_size=32, out=tmp_path / "run")
    found = run.evaluate(split="val")
    truth = alone[150:].argmax(1)
    macro = average_precision_score(np.eye(10)[truth], found.measures.probabilities.numpy(), average=None)
    present = np.eye(10)[truth].any(0)
    assert found.mean_average_precision == pytest.approx(macro[present].mean())
    assert found.mean_average_precision == pytest.approx(run.summary.val_map, abs=1e-6)
    assert "too high" in str(found)  # thresholds were chosen on these images


def test_thresholds_are_those_of_highest_f1_on_validation_images(run, arrays):
    found = run.evaluate(split="val")
    labels, chances = arrays[1][480:640], found.measures.probabilities.numpy()
    for place in range(10):
        reached = f1_score(labels[:, place], chances[:, place] >= run.thresholds[place])
        for other in np.linspace(0.02, 0.98, 25):
            assert reached >= f1_score(labels[:, place], chances[:, place] >= other, zero_division=0) - 1e-9


def test_every_form_of_an_evaluation_has_the_same_figures(run, tmp_path):
    found = run.evaluate(predictions=tmp_path / "images.csv")
    facts = json.loads(found.to_json())
    assert facts["map"] == found.mean_average_precision
    assert facts["multi_label"] is True
    assert f"mean average precision {found.mean_average_precision:.2%}" in str(found)
    assert f"{found.mean_average_precision:.2%}" in found._repr_html_()
    together = torch.tensor(facts["cooccurrence"])
    assert together.equal(together.T)
    assert together.diagonal().tolist() == [score.images for score in found.classes]
    rows = list(csv.DictReader((tmp_path / "images.csv").open(encoding="utf-8")))
    assert len(rows) == found.images
    for row, labels, predicted in zip(rows, found.predictions.labels, found.predictions.predicted, strict=True):
        assert row["labels"].split("|") == [CLASSES[place] for place in labels.nonzero().flatten()] or not labels.any()
        missed = [CLASSES[place] for place in (labels & ~predicted).nonzero().flatten()]
        assert row["missed"] == "|".join(missed)


def test_a_class_without_images_is_left_out_and_named(arrays, tmp_path):
    images, labels = arrays
    rest = labels.copy()
    rest[480:, 7] = False  # neither validation nor test images have it
    data = opened(images, rest)
    plan = cw.prepare(cw.TrainRequest(data=data, network="cifar_seresnet8|scale:w=0.25", epochs=1, out=tmp_path / "r"))
    assert any("no validation images of digit 7" in note for note in plan.notes)
    found = cw.train(plan).evaluate()
    scores = found.classes
    assert scores[7].average_precision is None
    known = [score.average_precision for score in scores if score.average_precision is not None]
    assert found.mean_average_precision == pytest.approx(np.mean(known))
    assert "left out of the mean average precision: digit 7" in str(found)
    assert json.loads(found.to_json())["classes"][7]["average_precision"] is None


def test_validation_images_need_a_label(arrays, tmp_path):
    images, labels = arrays
    rest = labels.copy()
    rest[480:640] = False
    with pytest.raises(DataError, match="no validation image has a class"):
        cw.train(opened(images, rest), network="cifar_seresnet8|scale:w=0.25", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_comparison_is_paired(run, data, tmp_path):
    weak = cw.train(data, network="cifar_seresnet8|scale:w=0.25", epochs=1, batch_size=32, out=tmp_path / "weak")
    found = cw.compare(run, weak)
    first, second = (each.evaluate().mean_average_precision for each in (run, weak))
    assert found.difference == pytest.approx(first - second)
    assert found.interval[0] <= found.difference <= found.interval[1]
    assert found.significant
    assert cw.compare(weak, run).difference == pytest.approx(-found.difference)
    same = cw.compare(run, run)
    assert (same.difference, same.p_value) == (0, 1)
    assert "mean average precision" in str(found)


def test_runs_of_different_kinds_are_not_mixed(run, data, tmp_path):
    single = cw.train("digits", network="cifar_seresnet8|scale:w=0.25", epochs=1, out=tmp_path / "single")
    with pytest.raises(ArgumentError, match="one kind at a time"):
        cw.report([run, single])
    with pytest.raises(DataError, match="is multi-label data"):
        single.evaluate(data=opened(*tiles(800, 1), classes=list("0123456789")))


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "run", "freeze": True},
        {"weights": "run", "freeze_epochs": 1},
        {"mixup": 0.2, "label_smoothing": 0.1},
        {"cutmix": 1.0, "focal": 2.0},
        {"class_weights": "balanced"},
        {"sampling": "balanced"},
    ],
    ids=str,
)
def test_options_apply_to_several_labels(run, data, tmp_path, options):
    if "weights" in options:
        options = options | {"weights": str(run.path)}
    network = "cifar_seresnet8"
    found = cw.train(
        data, network=network, epochs=1, batch_size=32, learning_rate=0.01, crop=0, out=tmp_path / "run", **options
    )
    assert found.summary.val_map > (0.6 if "weights" in options else 0.1)


def test_images_with_one_label_have_no_other_class(run, arrays):
    images, labels = arrays
    one = labels.sum(1) == 1
    images, labels = images[one], labels[one]
    parts = {"images": images[:100], "val_images": images[100:150], "test_images": images[150:], "classes": CLASSES}
    truth = labels[:100], labels[100:150], labels[150:]
    names = "labels", "val_labels", "test_labels"
    several = cw.open_data(**parts, **dict(zip(names, truth, strict=True)))
    single = cw.open_data(**parts, **dict(zip(names, [some.argmax(1) for some in truth], strict=True)))
    with pytest.warns(ConvwrightWarning, match="every other class counts as absent"):
        found = run.evaluate(data=single)
    assert found.to_dict() | {"data": ""} == run.evaluate(data=several).to_dict() | {"data": ""}


def test_of_many_classes_those_of_lowest_precision_are_shown():
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(draw.random((50, 60)) < 0.2)
    labels[:, 10:14] = False  # several classes without images
    scores = torch.from_numpy(draw.normal(size=labels.shape)).float() + 2 * labels
    measures = MultiLabelMeasures(scores, labels, (0.5,) * 60, 1.0)
    rows = [str(block) for block in label_table(measures.class_scores([f"class {place:02}" for place in range(60)]))]
    lowest = np.nanargmin(measures.average_precisions)
    assert f"class {lowest:02}" in rows[0]
    assert "class 11" not in rows[0]
    assert "40 classes" in rows[1]


@pytest.mark.parametrize("options", [{"minutes": 0.05}, {"epochs": 0.5, "find_lr": True}], ids=str)
def test_what_is_measured_before_training_works_with_several_labels(data, tmp_path, options):
    found = cw.train(data, network="cifar_seresnet8|scale:w=0.25", batch_size=32, out=tmp_path / "run", **options)
    assert found.summary.val_map > 0


def test_folds_have_mean_average_precisions(arrays, tmp_path):
    images, labels = arrays
    data = cw.open_data(images=images[:200], labels=labels[:200], classes=CLASSES)
    options = {"network": "cifar_seresnet8|scale:w=0.25", "batch_size": 32, "epochs": 0.5}
    assert "mAP" in str(cw.cross_validate(data, folds=2, out=tmp_path / "folds", **options))

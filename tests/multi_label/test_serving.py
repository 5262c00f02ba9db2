"""Networks with several labels an image: predictions, exported files, explanations, reports and studies."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.errors import ArgumentError
from convwright.explain.samples import chosen, single_labels
from convwright.training.evaluation import averaged
from convwright.training.views import View

from .conftest import CLASSES


@pytest.fixture(scope="module")
def files(arrays, tmp_path_factory):
    """The test images as files."""
    folder = tmp_path_factory.mktemp("files")
    for number, image in enumerate(arrays[0][640:660]):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


def test_every_class_above_its_threshold_is_predicted(run, files):
    found = run.evaluate().predictions
    for row, one in enumerate(run.predict(files).predictions):
        chances = found.probabilities[row].numpy()
        above = [place for place in np.argsort(-chances, kind="stable") if chances[place] >= run.thresholds[place]]
        assert one.classes == tuple(CLASSES[place] for place in above)
        assert one.probabilities == pytest.approx(chances[above], abs=1e-5)


def test_predictions_in_every_form(run, files, convwright):
    found = run.predict(files)
    shown = convwright("predict", run.path, files)
    assert shown.status == 0, shown.err
    for one in found.predictions:
        for label in one.classes:
            assert label in next(line for line in shown.out.splitlines() if Path(one.file).name in line)
    lines = convwright("predict", run.path, files, "--json").out.splitlines()
    named = [[each["class"] for each in json.loads(line)["predictions"]] for line in lines]
    assert named == [list(one.classes) for one in found.predictions]
    table = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["labels"] for row in table] == ["|".join(one.classes) for one in found.predictions]
    assert "<table" in found._repr_html_()
    assert "no class" in str(found) or all(one.classes for one in found.predictions)
    refused = convwright("predict", run.path, files, "--top", 3)
    assert refused.status == 2
    assert "--top" in refused.message


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_an_exported_file_predicts_the_same(run, files, tmp_path, suffix):
    pytest.importorskip({".onnx": "onnxruntime", ".xml": "openvino"}[suffix])
    made = run.export(tmp_path / f"tiles{suffix}")
    assert made.card.thresholds == run.thresholds
    assert "mAP" in str(made)
    loaded = cw.load(tmp_path / f"tiles{suffix}")
    before, after = run.predict(files).predictions, loaded.predict(sorted(files.iterdir()))
    assert [one.classes for one in after] == [one.classes for one in before]
    assert all(
        one.probabilities == pytest.approx(two.probabilities, abs=1e-3) for one, two in zip(after, before, strict=True)
    )


def test_8_bits_are_judged_by_mean_average_precision(run, tmp_path):
    pytest.importorskip("nncf")
    made = run.export(tmp_path / "small.onnx", int8=True, max_drop=5)
    engines = made.to_dict()["verified"]["engines"]
    assert all("map" in each and "lost_map" in each for each in engines.values())
    assert "points of mean average precision" in str(made)


def test_maps_are_of_each_predicted_class(run, data, files):
    found = run.explain.cam(files)
    predicted = {Path(one.file).name: one.classes for one in run.predict(files).predictions}
    shown = {}
    for name, label in zip(found.images.names, found.networks[0].labels, strict=True):
        shown.setdefault(Path(name).name, []).append(label)
    assert {name: tuple(shown[name]) for name in shown if predicted[name]} == {
        name: classes for name, classes in predicted.items() if classes
    }
    assert all(len(shown[name]) == 1 for name in shown if not predicted[name])  # the likeliest class
    one = run.explain.cam(files, target="digit 3")
    assert set(one.networks[0].labels) == {"digit 3"}
    assert len(one.images) == 20
    drawn = run.explain.cam(count=3)
    assert all(isinstance(row["truth"], list) for row in drawn.to_dict()["networks"][0]["images"])


def test_faithful_maps_beat_random_ones(run):
    maps = run.explain.cam(count=20, target=None)
    gain = cw.explain.faithfulness(run, maps, steps=8).estimates["tiles"]["deletion_gain"]
    assert gain.mean > 0


def test_images_of_many_classes_are_drawn(data):
    split = data.dataset().test
    labels = single_labels(split.labels)
    for row, label in enumerate(labels.tolist()):
        assert split.labels[row, label] if label < 10 else not split.labels[row].any()
    drawn = labels[chosen(split, 11).rows - split.rows[0] if split.rows is not None else chosen(split, 11).rows]
    assert sorted(drawn.tolist()) == sorted(set(labels.tolist()))  # each class once, and an image without any


def test_excitations_count_each_label_and_each_image_once(run, arrays):
    found = cw.explain.excitations(run, split="test").found
    labels = arrays[1][640:]
    assert found.counts.tolist() == labels.sum(0).tolist()
    assert found.images == len(labels)
    gate = found.blocks[0]
    lows, highs = gate.mean.min(0).values - gate.std.max(0).values, gate.mean.max(0).values + gate.std.max(0).values
    assert bool(((lows <= gate.overall) & (gate.overall <= highs)).all())
    assert 0 <= gate.specificity <= 1
    assert "multi-label image" in str(cw.explain.excitations(run))


def test_a_derived_run_has_thresholds_of_its_own(run, tmp_path):
    dropped = cw.explain.drop(run)
    assert dropped.steps[0].accuracy == pytest.approx(run.summary.val_map, abs=1e-6)
    assert "map" in dropped.to_dict()["drop"][0]
    lean = dropped.save(tmp_path / "lean", step=1)
    assert lean.summary.val_map == dropped.steps[1].accuracy
    assert lean.thresholds == dropped.steps[1].thresholds
    assert lean.evaluate(split="val").mean_average_precision == pytest.approx(dropped.steps[1].accuracy, abs=1e-6)


def test_connections_are_cut_by_mean_average_precision(data, tmp_path):
    dense = cw.train(data, network="densenet_bc_l16_k8", epochs=1, batch_size=32, out=tmp_path / "dense")
    found = cw.explain.prune(dense, shares=[0.5], draws=1)
    assert found.steps[0].accuracy == pytest.approx(dense.summary.val_map, abs=1e-6)
    assert "Mean average precision on validation images" in str(found)
    assert found.steps[1].change is not None


def test_a_report_has_the_figures_of_several_labels(run, data, tmp_path):
    weak = cw.train(data, network="cifar_seresnet8|scale:w=0.25", epochs=1, batch_size=32, out=tmp_path / "weak")
    made = cw.report([run, weak], tmp_path / "report.html")
    facts = made.to_dict()
    assert {"labels", "cooccurrence", "mistakes", "curves", "differences", "cam"} <= set(facts["figures"])
    assert "confusion" not in facts["figures"]
    assert facts["networks"][0]["map"] == run.evaluate().mean_average_precision
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "mAP" in page
    assert "Wilson" not in page
    assert "highest mean average precision" in made.summary


def test_a_study_ranks_by_mean_average_precision(data, tmp_path):
    pytest.importorskip("sqlalchemy")
    found = cw.search(
        "cifar_seresnet8|scale:w=0.5", data, step=0.3, rungs=1, seeds=1, epochs=0.5, out=tmp_path / "study"
    )
    assert "validation mAP" in str(found)
    assert found.findings.measure == "mean average precision"
    assert found.findings.trainings[0].outcome.from_dict(found.findings.trainings[0].outcome.to_dict()).accuracy > 0


def test_networks_of_both_kinds_need_a_class_for_their_maps(run, files, tmp_path):
    single = cw.train("digits", network="cifar_seresnet8|scale:w=0.25", epochs=1, out=tmp_path / "single")
    with pytest.raises(ArgumentError, match="give a class"):
        cw.explain.cam([run, single], files)


def test_an_exported_file_predicts_the_same_without_torch(run, files, tmp_path):
    pytest.importorskip("onnxruntime")
    run.export(tmp_path / "tiles.onnx")
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import convwright as cw, pathlib, json\n"
        f"images = sorted(pathlib.Path({str(files)!r}).iterdir())\n"
        f"found = cw.load({str(tmp_path / 'tiles.onnx')!r}).predict(images)\n"
        "print(json.dumps([list(one.classes) for one in found]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [list(one.classes) for one in run.predict(files).predictions]


def test_the_benchmark_names_mean_average_precision(run):
    pytest.importorskip("onnxruntime")
    found = cw.bench(run, engine="onnxruntime", seconds=0.05, threads=1)
    assert "val mAP" in str(found)
    (row,) = found.networks[0].rows
    assert row.accuracy == pytest.approx(run.summary.val_map, abs=1e-3)
    assert "mAP" in found._repr_html_()


def test_views_are_averaged_as_probabilities(run):
    images = torch.randn(5, 1, 16, 16)
    module = cw.load(run.path).in_torch.module
    views = [View(), View(mirrored=True)]
    with torch.no_grad():
        found = averaged(module, images, views, multi_label=True).double().sigmoid()
        each = torch.stack([module(view.of(images)).double().sigmoid() for view in views])
    assert found.numpy() == pytest.approx(each.mean(0).numpy(), abs=1e-6)

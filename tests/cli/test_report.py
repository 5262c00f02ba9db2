"""report: the page and its data from run directories, finished or not, on any data."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ArgumentError, UsageError
from convwright.timing import Timing
from convwright.training.loop import train
from convwright.training.plan import plan


def trained(path, spec, expression="cifar_seresnet8|scale:w=0.25", epochs=1.0):
    data = open_dataset(str(spec))
    config, network = plan(data, cw.network(expression), epochs=epochs)
    torch.set_num_threads(1)
    train(config, network, data, path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "photos"
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images[:240], digits.target[:240], strict=True)):
        if label < 3:
            folder = root / ("zero", "one", "two")[label]
            folder.mkdir(exist_ok=True, parents=True)
            grey = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((48, 48))
            grey.convert("RGB").save(folder / f"{number}.jpg")
    return root


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    trained(root / "se", "digits")
    trained(root / "dense", "digits", "densenet_bc_l10_k4", 0.2)
    trained(root / "photos", photos)
    return root


@pytest.fixture(autouse=True)
def _idle(monkeypatch):
    """Measure latencies as on an idle machine, whatever else runs."""
    monkeypatch.setattr("convwright.scaling.latency.measure_call", lambda work: Timing((0.005,)))


def test_a_page_of_two_runs(runs, tmp_path, convwright):
    answer = convwright("report", runs / "se", runs / "dense", "--html", tmp_path / "page.html")
    assert answer.status == 0
    assert "Two networks, trained on digits and measured on the same 359 test images" in answer.out.replace("\n", " ")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>Two networks on digits</h1>" in page
    assert 'id="reuse-2"' in page
    assert 'id="excitation-1"' in page
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_json_has_the_content_of_the_page_and_writes_none(runs, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = convwright("report", runs / "se", "--json", "--title", "For you")
    assert answer.status == 0
    report = json.loads(answer.out)
    evaluated = json.loads(convwright("evaluate", runs / "se", "--json").out)
    (network,) = report["networks"]
    assert report["title"] == "For you"
    assert (network["split"], network["images"]) == ("test", 359)
    assert network["accuracy"] == evaluated["accuracy"]
    assert network["measures"]["confusion"] == evaluated["confusion"]
    assert "accuracy" not in report["figures"]
    assert list(tmp_path.iterdir()) == []
    assert convwright("report", runs / "se").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_runs_of_different_data_are_not_compared(runs, tmp_path, convwright):
    answer = convwright("report", runs / "se", runs / "photos", "--json", "--out", tmp_path / "page.html")
    assert answer.status == 0
    report = json.loads(answer.out)
    assert report["notes"] == ["Accuracies are compared only between networks that were measured on the same images."]
    assert [network["split"] for network in report["networks"]] == ["test", "val"]
    assert not {"accuracy", "differences"} & set(report["figures"])
    assert {"cam", "cam-2", "confusion", "calibration"} <= set(report["figures"])
    assert all(isinstance(one["image"], str) for one in report["figures"]["mistakes"]["data"].get("photos", []))
    assert "test images of digits" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_run_that_has_not_ended_is_reported_in_a_line(runs, tmp_path, convwright):
    shutil.copytree(runs / "se", tmp_path / "stopped")
    (tmp_path / "stopped" / "summary.json").unlink()
    shutil.copytree(tmp_path / "stopped", tmp_path / "new")
    (tmp_path / "new" / "model.safetensors").unlink()
    answer = convwright("report", tmp_path / "stopped", tmp_path / "new", "--json")
    assert answer.status == 0
    report = json.loads(answer.out)
    assert report["notes"] == [
        "new is left out: it has no weights yet.",
        "stopped has not ended: its figures are those of its best weights so far, after 1 of 1 epoch.",
    ]
    assert [network["title"] for network in report["networks"]] == ["stopped"]
    text = convwright("report", tmp_path / "stopped", tmp_path / "new", "--out", tmp_path / "some.html")
    assert all(line in " ".join(text.out.split()) for line in report["notes"])
    alone = convwright("report", tmp_path / "new", "--out", tmp_path / "page.html")
    assert alone.status == 2
    assert "new: no weights yet" in alone.message
    assert not (tmp_path / "page.html").exists()


def test_other_data_with_the_same_classes(runs, photos, tmp_path, convwright):
    other = shutil.copytree(photos, tmp_path / "shop")
    answer = convwright("report", runs / "photos", "--data", other, "--json")
    assert answer.status == 0
    (network,) = json.loads(answer.out)["networks"]
    assert (network["split"], network["data"]) == ("all", str(other))
    assert network["images"] == len(list(other.glob("*/*.jpg")))
    assert "of shop" in json.loads(answer.out)["summary"]


def test_python_and_the_command_say_the_same(runs, tmp_path, convwright):
    found = cw.report([runs / "se", cw.open_run(runs / "dense")], tmp_path / "page.html", names=["A", "B"])
    assert [entry.title for entry in found.entries] == ["A", "B"]
    assert found.page == tmp_path / "page.html"
    assert 'id="confusion"' in found.page.read_text(encoding="utf-8")
    lines = str(found).splitlines()
    assert lines[-1] == f"page: {tmp_path / 'page.html'}"
    assert any(line.startswith("A ") and "%" in line for line in lines)
    written = convwright("report", runs / "se", runs / "dense", "--names", "A", "--names", "B", "--json")
    same = ("accuracy", "interval", "params", "measures", "curves", "title")
    for of_command, of_python in zip(json.loads(written.out)["networks"], found.to_dict()["networks"], strict=True):
        assert {key: of_command[key] for key in same} == {key: of_python[key] for key in same}
    assert json.loads(found.to_json()) == found.to_dict()
    html = found._repr_html_()
    assert "Most confident errors" in html
    assert html.count("<img ") > 20
    assert "var(--" not in html.partition("<script>")[2]
    titles = [axis.title.text for axis in (found.figure().layout.xaxis, found.figure("curves").layout.xaxis)]
    assert titles == ["MACs an image", "training images seen"]


def test_one_run_needs_no_list(runs):
    found = cw.report(runs / "se")
    assert (len(found.entries), found.page, found.entries[0].split) == (1, None, "test")
    assert cw.report(str(runs / "se"), data="digits").entries[0].data == "digits"


@pytest.mark.parametrize(
    ("runs_given", "options", "message"),
    [
        ([], {}, "runs: there must be one run or more"),
        (["nowhere"], {}, "runs: nowhere: no such run directory"),
        (["se"], {"names": ["a", "b"]}, "names: must be one for each of the 1 runs, not 2"),
        (["se"], {"data": "nowhere"}, "data: no folder nowhere"),
        (["se"], {"device": "abacus"}, "device: "),
        (["se"], {"out": "no/such/page.html"}, "out: no/such/page.html: there is no folder"),
        (["se"], {"out": "se/config.yaml"}, "out: se/config.yaml is a file of a run"),
        ([3], {}, "runs: must be"),
    ],
)
def test_wrong_arguments_name_the_parameter(runs_given, options, message, runs, monkeypatch):
    monkeypatch.chdir(runs)
    with pytest.raises(ArgumentError) as caught:
        cw.report(runs_given, **options)
    assert str(caught.value).startswith(message)


def test_a_figure_that_a_report_lacks(runs):
    with pytest.raises(UsageError, match=r"no figure 'cams'; there are .*curves"):
        cw.report(runs / "se").figure("cams")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such run directory"),
        (["se", "--out", "no/such/page.html"], "--html: no/such/page.html: there is no folder no/such"),
        (["se", "--data", "nowhere"], "no folder nowhere"),
        (["photos", "--data", "digits"], "has classes that the network was not trained on"),
        ([], "Missing argument"),
    ],
)
def test_wrong_use(arguments, message, runs, monkeypatch, convwright):
    monkeypatch.chdir(runs)
    before = sorted(path.name for path in runs.iterdir())
    answer = convwright("report", *arguments)
    assert answer.status == 2
    assert message in answer.message
    assert sorted(path.name for path in runs.iterdir()) == before

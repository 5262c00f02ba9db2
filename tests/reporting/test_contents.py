"""What the page shows of real answers, and that its words and numbers are the measured ones."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convwright.display.pictures import data_uri
from convwright.evaluation.confusion import Confusion
from convwright.explain import ActivationMaps
from convwright.reporting import Entry, compose
from convwright.reporting.calibration import calibration
from convwright.reporting.confusion import confusion
from convwright.reporting.mistakes import mistakes
from convwright.reporting.report import Report
from convwright.reporting.sections import explanations
from convwright.reporting.sections.cam import ExampleMaps, _finding, _picture, concentration


@pytest.fixture(scope="module")
def report(measured: list[Entry]) -> Report:
    return compose(None, measured)


def test_every_figure_is_there_once(report: Report) -> None:
    names = [figure.name for figure in report.figures]
    assert names[:7] == ["accuracy", "differences", "curves", "stages", "confusion", "mistakes", "calibration"]
    assert names[7:] == ["cam", "reuse-1", "excitation", "excitation-2", "excitation-3"]
    assert report.title == "Three networks on digits"


def test_every_figure_says_in_words_what_it_shows(report: Report) -> None:
    for figure in report.figures:
        assert figure.caption.endswith(".")
        assert all(line.endswith(".") for line in figure.findings)
        alts = [panel.alt for panel in figure.panels]
        alts += [picture.alt for gallery in figure.galleries for picture in gallery.pictures]
        assert alts
        assert all(re.search(r"\d|Image of the class", alt) for alt in alts), alts


def test_the_data_is_what_the_page_says(report: Report, measured: list[Entry]) -> None:
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [network["accuracy"] for network in values["networks"]] == [entry.accuracy for entry in measured]
    for network, entry in zip(values["networks"], measured, strict=True):
        assert np.trace(network["measures"]["confusion"]) == round(entry.accuracy * 359)
        assert network["latency_seconds"] > 0
        assert sum(stage["macs"] for stage in network["stages"]) == network["macs"] == entry.cost.macs
    assert set(values["figures"]) == {figure.name for figure in report.figures}
    assert len(values["figures"]["differences"]["data"]) == 3


def test_a_run_that_diverged_is_told_in_valid_json(measured: list[Entry], tmp_path: Path) -> None:
    run = replace(measured[0].run, path=tmp_path)
    run.write_metrics([row | {"train_loss": float("nan"), "val_loss": float("inf")} for row in measured[0].run.metrics])
    values = compose("Diverged", [replace(measured[0], run=run)]).to_dict()
    curves = json.loads(json.dumps(values, allow_nan=False))["networks"][0]["curves"]
    assert {row["train_loss"] for row in curves} == {row["val_loss"] for row in curves} == {None}


def test_the_confusion_matrix_holds_every_count(measured: list[Entry]) -> None:
    (figure,) = confusion(measured)
    for panel, entry in zip(figure.panels, measured, strict=True):
        assert entry.predictions is not None
        counts = entry.predictions.measures.confusion.tolist()
        right, wrong = (trace.text for trace in panel.plot.data)
        drawn = [[int(right[i][j] or wrong[i][j] or 0) for j in range(10)] for i in range(10)]
        assert drawn == counts
        for trace in panel.plot.data:
            assert list(trace.x) == list(trace.y) == list(entry.run.classes)


def test_many_classes_are_drawn_without_names(measured: list[Entry]) -> None:
    import convwright.evaluation.figures as module

    (figure,) = confusion(measured[:1])
    assert list(figure.panels[0].plot.layout.xaxis.ticktext) == list("0123456789")
    before, module.MOST_NAMED = module.MOST_NAMED, 5
    try:
        (figure,) = confusion(measured[:1])
    finally:
        module.MOST_NAMED = before
    assert figure.panels[0].plot.layout.xaxis.showticklabels is False
    assert figure.panels[0].plot.data[0].texttemplate is None


def with_classes(entry: Entry, count: int) -> Entry:
    """A network with so many classes, of which 7 is often predicted as 3, the last for 5, and none for any other."""
    assert entry.predictions is not None
    matrix = 10 * torch.eye(count, dtype=torch.int64)
    matrix[7, 3], matrix[-1, 5] = 10, 5
    measures = replace(entry.predictions.measures, pairs=Confusion.of(matrix))
    run = replace(entry.run, classes=tuple(f"class number {index}" for index in range(count)))
    return replace(entry, run=run, predictions=replace(entry.predictions, measures=measures))


def test_of_very_many_classes_those_that_are_confused_most_are_drawn(measured: list[Entry]) -> None:
    (figure,) = confusion([with_classes(measured[0], 300)])
    assert "Only the classes that a network confuses most are drawn: 4 of 300." in figure.caption
    (panel,) = figure.panels
    right, wrong = panel.plot.data
    assert list(right.x) == list(wrong.y) == [f"class number {index}" for index in (3, 5, 7, 299)]
    assert (wrong.text[2][0], wrong.text[3][1]) == ("10", "5")
    assert (wrong.z[2][0], wrong.z[3][1]) == (0.5, round(1 / 3, 4))
    assert [right.text[place][place] for place in range(4)] == ["10"] * 4
    assert "Only" not in next(confusion(measured)).caption


def test_a_matrix_of_a_hundred_classes_is_small_enough_to_send(measured: list[Entry]) -> None:
    (figure,) = confusion([with_classes(measured[0], 100)])
    assert len(figure.panels[0].plot.data[0].x) == 100
    assert len(figure.panels[0].plot.to_json()) < 250_000


def test_mistakes_are_shown_as_they_are(measured: list[Entry]) -> None:
    (figure,) = mistakes(measured[1:2])
    predictions = measured[1].predictions
    assert predictions is not None
    (gallery,) = figure.galleries
    row = predictions.mistakes[0]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(gallery.pictures[0].uri.partition(",")[2]))))
    assert (shown == predictions.take([row])[0, 0].numpy()).all()
    label, predicted = int(predictions.labels[row]), int(predictions.predicted[row])
    assert gallery.pictures[0].alt.startswith(f"{label} predicted as {predicted} with ")
    assert f"{len(predictions.mistakes)} errors" in figure.findings[0]


def test_calibration_names_overconfident_networks(measured: list[Entry]) -> None:
    (figure,) = calibration(measured)
    for entry, line in zip(measured, figure.findings, strict=True):
        assert entry.predictions is not None
        excess = entry.predictions.overconfidence
        assert ("overconfident" in line) == (excess >= 0.01)
        assert ("underconfident" in line) == (excess <= -0.01)
    diagonal, *lines = figure.panels[0].plot.data
    assert list(diagonal.x) == list(diagonal.y)
    for entry, line in zip(measured, lines, strict=True):
        assert entry.predictions is not None
        filled = [part for part in entry.predictions.measures.reliability if part.images]
        assert list(line.y) == [part.accuracy for part in filled]


def test_explanations_are_of_the_networks_that_allow_them(measured: list[Entry], tmp_path: Path) -> None:
    assert [figure.name for figure in explanations(measured[:1])] == ["cam", "reuse-1"]
    assert [figure.name for figure in explanations(measured[1:2])] == ["cam", "excitation", "excitation-1"]
    gates = next(figure for figure in explanations(measured) if figure.name == "excitation")
    assert gates.members == (1, 2)
    compose("Gates", measured).save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    legend = page[page.index('<h2 id="excitation">') :].partition("</ul>")[0]
    assert re.findall(r"</span> (\S+)</li>", legend) == [entry.title for entry in measured[1:]]
    maps = next(explanations(measured))
    assert [gallery.heading for gallery in maps.galleries[1:]] == [entry.title for entry in measured]
    assert len({len(gallery.pictures) for gallery in maps.galleries}) == 1


def test_concentration_of_a_map() -> None:
    spot = np.zeros((10, 10), np.float32)
    spot[3, 4] = 1
    assert concentration(spot) == 0.01
    assert concentration(np.ones((10, 10), np.float32)) == 0.5
    assert concentration(np.zeros((10, 10), np.float32)) is None


def test_the_area_of_half_of_the_evidence_compares_between_methods_and_leaves_empty_maps_out(
    measured: list[Entry],
) -> None:
    entry = measured[1]
    assert entry.predictions is not None
    raw = -np.ones((3, 4, 4), np.float32)
    raw[1:, 1, 1] = 1
    maps = np.zeros((3, 8, 8), np.float32)
    found = ActivationMaps("cam", "x", raw, maps, (0, 1, 2), (0.5,) * 3)
    stretched = replace(found, method="grad-cam", raw=5 * raw.clip(0))  # the same but for scale and what is negative
    one, other = (ExampleMaps(entry, entry.predictions, (0, 1, 2), each) for each in (found, stretched))
    assert one.half_evidence_areas == other.half_evidence_areas
    assert one.half_evidence_areas[0] is None
    assert one.mean_half_evidence_area == one.half_evidence_areas[1] == one.half_evidence_areas[2] < 0.1
    assert "1 prediction has no positive evidence" in _finding(one)
    assert _picture(one, 0).alt.endswith("none")
    nowhere = ExampleMaps(entry, entry.predictions, (0, 1, 2), replace(found, raw=-np.abs(raw)))
    assert nowhere.mean_half_evidence_area is None
    assert "3 predictions have no positive evidence" in _finding(nowhere)
    assert "half of the evidence" not in _finding(nowhere)


def test_the_page_says_why_maps_are_of_an_earlier_layer(measured: list[Entry]) -> None:
    entry = measured[1]
    assert entry.predictions is not None
    maps = ActivationMaps("grad-cam", "x", np.ones((1, 2, 2), np.float32), np.ones((1, 8, 8)), (0,), (0.5,), "Because.")
    values = _finding(ExampleMaps(entry, entry.predictions, (0,), maps))
    assert "maps of x, 2 × 2, by Grad-CAM" in values
    assert values.endswith(" Because.")


def test_pictures_are_small_enough_to_send() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    uri = data_uri(noise)
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 80_000
    assert max(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size) == 224

"""What the page shows of real answers, and that its words and numbers are the measured ones."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convwright.report import Entry, compose, facts, write
from convwright.report.calibration import calibration
from convwright.report.confusion import confusion
from convwright.report.mistakes import mistakes
from convwright.report.page import Report
from convwright.report.pictures import data_uri
from convwright.report.sections import explanations
from convwright.report.sections.cam import concentration


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
    told = json.loads(json.dumps(facts(report), allow_nan=False))
    assert [network["accuracy"] for network in told["networks"]] == [entry.accuracy for entry in measured]
    for network, entry in zip(told["networks"], measured, strict=True):
        assert np.trace(network["measures"]["confusion"]) == round(entry.accuracy * 359)
        assert network["latency_seconds"] > 0
        assert sum(stage["macs"] for stage in network["stages"]) == network["macs"] == entry.cost.macs
    assert set(told["figures"]) == {figure.name for figure in report.figures}
    assert len(told["figures"]["differences"]["data"]) == 3


def test_a_run_that_diverged_is_told_in_valid_json(measured: list[Entry], tmp_path: Path) -> None:
    run = replace(measured[0].run, path=tmp_path)
    run.write_metrics([row | {"train_loss": float("nan"), "val_loss": float("inf")} for row in measured[0].run.metrics])
    told = facts(compose("Diverged", [replace(measured[0], run=run)]))
    curves = json.loads(json.dumps(told, allow_nan=False))["networks"][0]["curves"]
    assert {row["train_loss"] for row in curves} == {row["val_loss"] for row in curves} == {None}


def test_the_confusion_matrix_holds_every_count(measured: list[Entry]) -> None:
    (figure,) = confusion(measured)
    for panel, entry in zip(figure.panels, measured, strict=True):
        assert entry.answers is not None
        counts = entry.answers.measures.confusion.tolist()
        right, wrong = (trace.text for trace in panel.plot.data)
        drawn = [[int(right[i][j] or wrong[i][j] or 0) for j in range(10)] for i in range(10)]
        assert drawn == counts


def test_many_classes_are_drawn_without_names(measured: list[Entry]) -> None:
    import convwright.report.confusion as module

    (figure,) = confusion(measured[:1])
    assert list(figure.panels[0].plot.layout.xaxis.ticktext) == list("0123456789")
    before, module.MOST_NAMED = module.MOST_NAMED, 5
    try:
        (figure,) = confusion(measured[:1])
    finally:
        module.MOST_NAMED = before
    assert figure.panels[0].plot.layout.xaxis.showticklabels is False
    assert figure.panels[0].plot.data[0].texttemplate is None


def test_mistakes_are_shown_as_they_are(measured: list[Entry]) -> None:
    (figure,) = mistakes(measured[1:2])
    answers = measured[1].answers
    assert answers is not None
    (gallery,) = figure.galleries
    row = answers.mistakes[0]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(gallery.pictures[0].uri.partition(",")[2]))))
    assert (shown == answers.take([row])[0, 0].numpy()).all()
    label, predicted = int(answers.labels[row]), int(answers.predicted[row])
    assert gallery.pictures[0].alt.startswith(f"{label} taken for {predicted} with ")
    assert f"{len(answers.mistakes)} mistakes" in figure.findings[0]


def test_calibration_tells_who_is_too_sure(measured: list[Entry]) -> None:
    (figure,) = calibration(measured)
    for entry, line in zip(measured, figure.findings, strict=True):
        assert entry.answers is not None
        excess = entry.answers.overconfidence
        assert ("too sure" in line) == (excess >= 0.01)
        assert ("not as sure" in line) == (excess <= -0.01)
    diagonal, *lines = figure.panels[0].plot.data
    assert list(diagonal.x) == list(diagonal.y)
    for entry, line in zip(measured, lines, strict=True):
        assert entry.answers is not None
        filled = [part for part in entry.answers.measures.reliability if part.images]
        assert list(line.y) == [part.accuracy for part in filled]


def test_explanations_are_of_the_networks_that_allow_them(measured: list[Entry], tmp_path: Path) -> None:
    assert [figure.name for figure in explanations(measured[:1])] == ["cam", "reuse-1"]
    assert [figure.name for figure in explanations(measured[1:2])] == ["cam", "excitation", "excitation-1"]
    gates = next(figure for figure in explanations(measured) if figure.name == "excitation")
    assert gates.members == (1, 2)
    write(tmp_path / "page.html", compose("Gates", measured))
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
    assert concentration(np.zeros((10, 10), np.float32)) == 0.01


def test_pictures_are_small_enough_to_send() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    uri = data_uri(noise)
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 80_000
    assert max(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size) == 224

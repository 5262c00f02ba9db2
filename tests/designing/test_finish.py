"""The end of a design where its file cannot be exported, verified, measured or found."""

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import convwright as cw
from convwright.data.opened import Data
from convwright.designing.candidates import Candidate
from convwright.designing.clock import Clock
from convwright.designing.context import DesignContext
from convwright.designing.examination import ImageFacts
from convwright.designing.file_export import can_explain, write_file
from convwright.designing.finish import finish, open_finished
from convwright.designing.request import DesignRequest
from convwright.designing.result import DesignResult
from convwright.designing.shipped_file import measure_file
from convwright.designing.state import CLOCK, State
from convwright.designing.trials import Trial
from convwright.designing.winner_record import ScoredImages, Winner
from convwright.engines.card_reading import read_card
from convwright.engines.parts import MAP
from convwright.errors import ConvwrightError, WriteError
from convwright.exporting import whole_verification
from convwright.exporting.whole_verification import verify_whole
from convwright.scaling.budget import LATENCY, as_budget

from ..limits import files_up_to

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small network on digits."""
    return cw.train(
        "digits", network="cifar_resnet8", epochs=1, out=tmp_path_factory.mktemp("run") / "run", progress=False
    )


@pytest.fixture
def context(run, tmp_path) -> DesignContext:
    """A design whose winner is trained."""
    folder = tmp_path / "design"
    shutil.copytree(run.path, folder / "race/0-00")
    data = Data("digits")
    dataset = data.dataset()
    request = DesignRequest(data, as_budget("params<=1M"), 60, folder, engine="onnxruntime")
    state = State(folder, request.to_dict(), fingerprint=dataset.fingerprint, rounds=[["best"]])
    state.candidates = [Candidate("best", "ResNet", "", run.network)]
    state.trials = [Trial("best", 0, 0, "race/0-00", 0.5, "01", 2, 1.0, 1.0)]
    counts = dict.fromkeys(("train", "val", "test"), (9,) * 10)
    state.images = ImageFacts(dataset.classes, counts, 8, 1).to_dict()
    state.winner = Winner("best", "race/0-00")
    state.save()
    found = DesignContext(request, state, Clock(folder / CLOCK, 60), progress=False)
    found.data = data
    return found


def reopened(context: DesignContext):
    return open_finished(context.request, State.open(context.request.out), 1.0)


def forbid(monkeypatch, tolerance: str, **allowed: float) -> None:
    """Let the verification of whole files fail, as no difference is as small as this."""
    monkeypatch.setattr(whole_verification, tolerance, {**getattr(whole_verification, tolerance), **allowed})


def test_a_design_whose_file_cannot_be_exported_has_a_dossier(context, monkeypatch) -> None:
    forbid(monkeypatch, "TOLERANCE", f32=-1.0)
    result = finish(context)
    assert result.shipped is None
    assert result.file is None
    assert result.failure.startswith("no file was exported: ")
    assert "\n" not in result.failure
    assert "its own resizing changes probabilities" in result.failure
    shown = result.failure.replace(f"{context.request.out}/", "")
    page = re.sub("</?code>", "`", result.dossier.read_text(encoding="utf-8"))
    assert shown in page.replace("none: ", "no file was exported: ")
    assert str(result).count("its own resizing changes probabilities") == 1
    assert json.loads((context.request.out / "design.json").read_text())["failure"] == result.failure
    assert not [*context.request.out.glob("*.onnx")]
    again = reopened(context)
    assert again is not None, "a design that is resumed does not repeat the export"
    assert again.failure == result.failure


def test_a_file_without_an_activation_map_is_better_than_none(run, tmp_path, monkeypatch) -> None:
    assert MAP in write_file(run, tmp_path / "with.onnx").exported.card.outputs
    forbid(monkeypatch, "MAP_TOLERANCE", tensor=-1.0, image=-1.0)
    written = write_file(run, tmp_path / "without.onnx")
    assert MAP not in written.exported.card.outputs
    assert written.exported.card.input == "image"
    ((decision, reason),) = written.decisions
    assert decision == "the file has no activation map"
    assert "its activation maps differ" in reason


def test_a_file_whose_own_resizing_disagrees_takes_a_tensor(run, tmp_path, monkeypatch) -> None:
    verify = verify_whole

    def refuse_images(path, out, *rest):
        if read_card(path).input == "image":
            raise ConvwrightError(f"{out} was not written: its own resizing changes predictions; use `input` tensor")
        return verify(path, out, *rest)

    monkeypatch.setattr("convwright.exporting.export.verify_whole", refuse_images)
    written = write_file(run, tmp_path / "network.onnx")
    assert written.exported.card.input == "tensor"
    assert [decision for decision, _ in written.decisions] == [
        "the file has no activation map",
        "the file takes images at the resolution of the network",
    ]
    assert all("changes predictions" in reason and "`input`" not in reason for _, reason in written.decisions)
    assert cw.load(written.exported.path).predict([np.zeros((20, 30, 3), np.uint8)])[0].label in run.classes


def test_a_network_without_activation_maps_has_a_file_without_one(tmp_path) -> None:
    network = "mobilenet_v1|resolution:32|scale:w=0.125"  # its last feature maps have one pixel
    other = cw.train(
        "digits", network=network, fit=False, resolution=32, epochs=0.1, out=tmp_path / "run", progress=False
    )
    assert not can_explain(other)
    written = write_file(other, tmp_path / "network.onnx")
    assert written.decisions == []
    assert MAP not in written.exported.card.outputs


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_full_disk_ends_the_design_which_continues(context) -> None:
    with files_up_to(60_000), pytest.raises(WriteError, match="could not be written: File too large"):
        finish(context)
    assert not State.open(context.request.out).finished
    assert finish(context).file.exists()


def test_a_file_that_was_deleted_is_exported_again(context) -> None:
    result = finish(context)
    check_shown_times(result)
    assert MAP in cw.load(result.file).card.outputs
    result.file.unlink()
    again = reopened(context)
    assert again.file.exists()
    assert not again.failure
    again.file.unlink()
    state = State.open(context.request.out)
    state.fingerprint = "other images"
    missing = open_finished(context.request, state, 1.0)
    assert missing.file is None
    assert f"{again.file} is missing, and could not be exported again: " in missing.failure
    assert "predict" in str(missing), "the run is there"


def check_shown_times(result: DesignResult) -> None:
    """Check that the time of the whole file is shown beside the network's."""
    assert result.shipped.whole_milliseconds.keys() == result.shipped.milliseconds.keys()
    for text in (str(result), result.dossier.read_text(encoding="utf-8")):
        words = " ".join(text.split())
        assert "(network only, on an image of its resolution)" in words
        assert "(whole file, with cropping and resizing)" in words


def test_the_latency_in_another_engine_does_not_count(run, context) -> None:
    exported = write_file(run, context.request.out / "digits.onnx").exported
    checks = dict(exported.card.verified.engines)
    checks["openvino"] = checks.pop("onnxruntime")
    card = replace(exported.card, verified=replace(exported.card.verified, engines=checks))
    failed = replace(exported, card=card, problems={"onnxruntime": "its logits differ"})
    context.state.winner = replace(context.state.winner, tested=ScoredImages(1, 2))
    finished = finish(context)
    for budget, unmeasured in (("latency<=10000ms", "its logits differ"), ("params<=1M", "")):
        shipped = measure_file(failed, run, replace(context.request, budget=as_budget(budget)))
        assert LATENCY not in shipped.used
        assert shipped.unmeasured == unmeasured
        result = replace(finished, shipped=shipped)
        assert ("could not be measured in onnxruntime: its logits differ" in result.failure) is bool(unmeasured)
        assert bool(result.failure) is bool(unmeasured)


def test_a_design_finds_its_images_from_another_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    stored = DesignRequest(Data("photos"), None, 60, tmp_path / "design").to_dict()
    monkeypatch.chdir(os.sep)
    again = DesignRequest.from_dict(stored, tmp_path / "design")
    assert Path(again.data.spec) == tmp_path / "photos"
    assert again.to_dict() == stored
    assert DesignRequest(Data("digits"), None, 60, tmp_path).to_dict()["data"] == "digits"


def test_missing_packages_do_not_hide_an_unchecked_latency(context, monkeypatch) -> None:
    monkeypatch.setattr("convwright.designing.finish.can_export", lambda: False)
    limited = replace(context.request, budget=as_budget("latency<=10000ms"))
    context.request = limited
    result = finish(context)
    assert result.failure.startswith("the latency of the budget was not checked in onnxruntime: ")
    context.state.winner = replace(context.state.winner, file_problem="")
    context.request = replace(limited, engine="torch")
    assert not finish(context).failure
    context.request = replace(limited, engine="torch", budget=as_budget("latency<=0.0001ms"))
    assert "ms per image in torch, more than the budget allows" in finish(context).failure
    context.request = replace(limited, budget=as_budget("params<=1M"))
    assert not finish(context).failure

"""What is chosen where the command line leaves it open: shown by data, followed by train."""

import json
import shlex
from pathlib import Path

import pytest

import convwright as cw
from convwright.weights.published import is_installed

from ..photos import temple_and_flower

needs_weights = pytest.mark.skipif(not is_installed("efficientnet_lite0"), reason="no weights are installed")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return temple_and_flower(tmp_path_factory.mktemp("photos"))


@needs_weights
def test_training_does_what_is_advised(photos, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    options = {"resolution": 64, "epochs": 0.5, "cache_gb": 0.0}
    advised = cw.advise(photos, **options)
    further = ("--cache-gb", 0, "--no-fused")  # which operators are faster depends on what else the machine does
    answer = convwright("train", "--data", photos, "--resolution", 64, "--epochs", 0.5, *further, "--out", "run")
    assert answer.status == 0, answer.err
    assert advised.line in answer.err
    run = cw.open_run("run")
    stored = json.loads((run.path / "advice.json").read_text(encoding="utf-8"))
    assert stored == advised.to_dict()
    assert run.config.network.startswith(advised.network)
    assert (run.config.weights, run.config.batch_size) == (advised.weights, advised.batch_size)
    assert run.config.recipe.freeze_epochs > 0
    # The command that is written out gives the same configuration, and so does the run's own file.
    words = shlex.split(advised.command())[2:]
    assert convwright("train", *words, *further, "--out", "written").status == 0
    assert cw.open_run("written").config == run.config
    again = convwright("train", "--config", "run/config.yaml", "--cache-gb", 0, "--out", "again")
    assert again.status == 0, again.err
    assert "chosen:" not in again.err
    assert cw.open_run("again").config == run.config


def test_the_survey_shows_the_advice(photos, convwright):
    found = cw.survey(photos)
    assert found.advice == cw.advise(photos)
    answer = convwright("data", photos)
    assert found.advice.line in answer.out
    assert found.advice.command() in answer.out
    assert json.loads(convwright("data", photos, "--json").out)["advice"] == found.advice.to_dict()

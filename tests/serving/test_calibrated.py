"""The probabilities of a served run do not depend on earlier requests, and change when its limits do."""

import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import save

from convwright import json_text
from convwright.prediction.stored_limits import LIMITS, NAME
from convwright.serving.metrics import Metrics
from convwright.serving.models import Models

from ..subjects import trained_run
from .conftest import LIMITS as SERVICE
from .conftest import client_of


@pytest.fixture
def run(tmp_path):
    """A run whose limits have not been fitted."""
    unfitted = shutil.ignore_patterns(NAME, "picked")
    return Path(shutil.copytree(trained_run(), tmp_path / "run", ignore=unfitted))


def shares(client, content, **options):
    answer = client.post("/predict", params=options, files={"image": content}).json()
    (one,) = answer["predictions"]
    return {each["class"]: each["probability"] for each in one["predictions"]}


def test_requests_change_no_probabilities(run, pictures):
    content = pictures["0.png"]
    with client_of([run]) as client:
        before = shares(client, content, top=10)
        sets = shares(client, content, coverage=0.99)
        assert shares(client, content, top=10) == before
        assert sets == pytest.approx({name: before[name] for name in sets}, abs=1e-6)
        assert sets
    with client_of([run]) as replica:
        assert shares(replica, content, top=10) == before


def test_limits_fitted_elsewhere_are_a_change_but_not_those_of_the_service(run):
    models = Models([run], SERVICE, Metrics())
    assert models.changed() == models.changed() == []
    with safe_open(run / NAME, "numpy") as opened:
        header = opened.metadata()
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    limits = json_text.parse(header[LIMITS], run)
    header[LIMITS] = json_text.dump({**limits, "temperature": 3.0})
    (run / NAME).write_bytes(save(arrays, header))
    assert (models.changed(), models.changed()) == ([], [run.name])
    model = models.reloaded(run.name)
    assert model.predictor.temperature == 3
    models.replace(model)
    assert models.changed() == models.changed() == []
    models.close()


def test_a_run_without_its_images_is_served_without_limits(run, pictures, tmp_path):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("data: digits", f"data: {tmp_path / 'gone'}"))
    (run / "checksums.json").unlink()
    with client_of([run]) as client:
        before = shares(client, pictures["0.png"], top=10)
        answer = client.post("/predict", params={"coverage": 0.9}, files={"image": pictures["0.png"]})
        assert answer.status_code == 422
        assert "gone" in answer.text
        assert shares(client, pictures["0.png"], top=10) == before

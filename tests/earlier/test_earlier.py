"""Files that released versions wrote are read, and mean what they meant."""

import json
import shutil
import warnings
from pathlib import Path

import pytest

import convwright as cw

HERE = Path(__file__).parent
VERSIONS = sorted(path.name for path in HERE.iterdir() if path.is_dir() and (path / "facts.json").exists())
FILES = ("run", "digits.onnx", "digits.xml", "digits.safetensors")
NEEDED = {"digits.onnx": "onnxruntime", "digits.xml": "openvino"}


@pytest.fixture(params=VERSIONS)
def folder(request, tmp_path):
    """A copy of the files of a version, so that reading may not change them."""
    shutil.copytree(HERE / request.param, tmp_path / "files")
    return tmp_path / "files"


@pytest.fixture
def facts(folder):
    return json.loads((folder / "facts.json").read_text())


@pytest.mark.parametrize("name", FILES)
def test_runs_and_exported_files_predict_what_they_predicted(name, folder, facts):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = cw.load(folder / name)
    found = [each.to_dict()["predictions"] for each in model.predict(sorted(folder.glob("*.png")), top=10)]
    assert len(found) == len(facts["predictions"])
    for one, other in zip(found, facts["predictions"], strict=True):
        now, then = ({each["class"]: each["probability"] for each in which} for which in (one, other))
        assert now == pytest.approx(calibrated(then, model.temperature), abs=1e-4)


def calibrated(probabilities, temperature):
    """Return the softmax of logits / temperature, from that of the logits, which version 0.1 gave."""
    raised = {name: share ** (1 / temperature) for name, share in probabilities.items()}
    return {name: share / sum(raised.values()) for name, share in raised.items()}


def test_a_run_is_evaluated_and_exported(folder, facts):
    pytest.importorskip("onnxruntime")
    run = cw.open_run(folder / "run")
    assert run.evaluate(device="cpu").accuracy == pytest.approx(facts["test_accuracy"], abs=0.003)
    assert run.summary.steps > 0
    assert run.metrics
    assert cw.export(run, folder / "again.onnx", images=20).path.exists()


def test_a_run_gives_its_weights_and_its_configuration_to_a_new_one(folder):
    made = cw.train(
        config=folder / "run" / "config.yaml",
        weights=str(folder / "run"),
        epochs=0.1,
        out=folder / "new",
        progress=False,
    )
    assert made.network == cw.open_run(folder / "run").network


def test_a_network_has_the_cost_that_it_had(folder, facts):
    cost = cw.cost(folder / "network.json")
    assert {"params": cost.params, "macs": cost.macs} == facts["network"]


def test_a_request_is_planned(folder):
    request = cw.TrainRequest.from_yaml(folder / "request.yaml", fused=False)
    plan = cw.prepare(request, out=folder / "planned", progress=False)
    assert plan.config.recipe.mixup == 0.1


def test_a_search_gives_its_coefficients(folder, facts):
    assert [member.network.name for member in cw.family(search=folder / "study", phi=1)] == facts["family"]


def test_there_are_files_of_the_first_version():
    assert "0.1" in VERSIONS

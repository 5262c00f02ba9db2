"""A run's configuration holds or finds beside itself all that repeats the run, from any folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.errors import UsageError
from convwright.training.start import check_same


def make_folder(root: Path, size: int = 16) -> Path:
    """Two classes of twenty handwritten digits each."""
    digits = load_digits()
    for name, digit in {"one": 1, "two": 2}.items():
        (root / name).mkdir(parents=True)
        for index, image in enumerate(digits.images[digits.target == digit][:20]):
            pixels = Image.fromarray((image * 15.9).astype(np.uint8)).resize((size, size))
            pixels.save(root / name / f"{index}.png")
    return root


def repeated(run: cw.Run, out: Path) -> cw.Run:
    return cw.train(config=run.path / "config.yaml", out=out, progress=False)


def assert_same(run: cw.Run, again: cw.Run) -> None:
    assert again.network == run.network
    assert again.weights.read_bytes() == run.weights.read_bytes()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images and a planned network, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "data")
    cw.plan("cifar_resnet20", "macs<=1M", classes=2, out="plan.json")
    return tmp_path


def test_a_network_of_a_file_is_in_the_run(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cw.train("data", network="plan.json", epochs=0.5, out="run", progress=False)
    Path("plan.json").unlink()
    moved = run.path.absolute()
    Path("deep/er").mkdir(parents=True)
    monkeypatch.chdir("deep/er")
    assert_same(cw.open_run(moved), repeated(cw.open_run(moved), Path("again")))


@pytest.mark.filterwarnings("ignore:weights.safetensors. assumed")
def test_weights_of_a_file_are_in_the_run(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cw.train("data", network="plan.json", epochs=0.5, out="first", progress=False)
    Path("weights.safetensors").write_bytes(first.weights.read_bytes())
    options = {"network": "plan.json", "weights": "weights.safetensors", "epochs": 0.5, "progress": False}
    run = cw.train("data", out="run", **options)
    Path("weights.safetensors").unlink()
    where = run.path.absolute()
    Path("deep").mkdir()
    monkeypatch.chdir("deep")
    again = repeated(cw.open_run(where), Path("again"))
    assert_same(cw.open_run(where), again)
    assert again.data.mean == cw.open_run(where).data.mean
    assert_same(again, repeated(again, Path("third")))


def test_a_run_resumes_with_the_options_that_it_was_given(elsewhere: Path) -> None:
    run = cw.train("data", network="plan.json", epochs=0.5, out="run", progress=False)
    check_same(run, {"network": "plan.json", "data": "data"})
    with pytest.raises(UsageError, match=r"is 'plan.json.*, not 'cifar_resnet8'"):
        check_same(run, {"network": "cifar_resnet8"})


def test_a_saved_request_finds_what_lies_beside_it(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = cw.TrainRequest(data="data", network="plan.json|classes:3", epochs=0.5, seed=3)
    request.to_yaml("request.yaml")
    there = cw.prepare(config="request.yaml", out="run", progress=False)
    Path("deep").mkdir()
    monkeypatch.chdir("deep")
    here = cw.prepare(config="../request.yaml", out="run", progress=False)
    assert here.network == there.network
    assert here.config == there.config


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cifar_resnet8", 16),
        ("cifar_resnet8|scale:w=0.5", 16),
        ("cifar_resnet8|resolution:24", 24),
        ("cifar_resnet8|fit:20", 20),
        ("cifar_resnet8|scale:w=0.5,r=0.75", 24),
        ("cifar_resnet8|phi:-2", 24),
    ],
)
def test_a_resolution_in_the_expression_is_kept(elsewhere: Path, expression: str, expected: int) -> None:
    plan = cw.prepare("data", network=expression, epochs=1, progress=False)
    assert plan.data.resolution == plan.network.resolution == expected
    assert any(f"{expected} px" in note for note in plan.notes) == (expected != 16)


@pytest.mark.parametrize("limit", ["macs<=1M", "macs<=40M"])
def test_a_planned_resolution_is_kept_or_its_change_is_noted(elsewhere: Path, limit: str) -> None:
    planned = cw.plan("cifar_resnet20", limit, classes=2, out="plan.json").network.resolution
    plan = cw.prepare("data", network="plan.json", epochs=1, progress=False)
    assert plan.data.resolution == planned
    other = cw.prepare("data", network="plan.json", resolution=20, epochs=1, progress=False)
    assert other.data.resolution == 20
    assert f"the network is planned for {planned} px, and is trained at 20 px, as requested" in other.notes


def test_a_planned_resolution_is_kept_with_weights_too(elsewhere: Path) -> None:
    cw.plan("cifar_resnet8", resolution=0.75, classes=2, out="plan.json")
    run = cw.train("data", network="plan.json", epochs=0.1, fused=False, out="run", progress=False)
    plan = cw.prepare("data", network="plan.json", weights=str(run.path), epochs=1, fused=False, progress=False)
    assert plan.data.resolution == run.data.resolution == 24


def test_a_plan_by_depth_alone_keeps_its_resolution_too(elsewhere: Path) -> None:
    cw.plan("cifar_resnet20", depth=0.5, out="plan.json")
    assert cw.prepare("data", network="plan.json", epochs=1, progress=False).data.resolution == 32

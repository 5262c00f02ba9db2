"""The demonstration, whole designs and ablations on digits, through Python and the command line."""

import functools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.arch.cost import cost
from convwright.data.opened import Data
from convwright.designing.state import State
from convwright.errors import ArgumentError, RunError, UsageError
from convwright.files import temporary_beside
from convwright.scaling.budget import as_budget

from ..chromium import EXECUTABLE, Browser

BUDGET = "macs<=1M, params<=60K"


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory):
    """What the command of `make demo` prints, of half a minute on digits."""
    out = tmp_path_factory.mktemp("design") / "digits"
    options = ["--data", "digits", "--minutes", "0.5", "--out", str(out), "--json"]
    command = [sys.executable, "-m", "convwright", "demo", *options]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def designed(demonstrated):
    """The design of the demonstration."""
    return cw.design(resume=Path(demonstrated["file"]).parent, progress=False)


def test_the_demonstration_designs_a_network_of_one_of_the_three_families(demonstrated, convwright) -> None:
    folder = Path(demonstrated["file"]).parent
    assert demonstrated["split"] == "test"
    assert demonstrated["network"] in (folder / "dossier.html").read_text(encoding="utf-8")
    again = convwright("demo", "--data", "digits", "--out", folder, "--json")
    assert again.status == 0
    assert json.loads(again.out) == demonstrated
    other = convwright("demo", "--data", "fashion-mnist", "--out", folder)
    assert other.status == 2
    assert "digits" in other.message


def test_a_design_keeps_its_budget_and_writes_its_files(designed) -> None:
    found = designed.to_dict()
    assert found["macs"] <= 20e6
    assert found["params"] <= 500_000
    assert not designed.failure
    folder = designed.request.out
    assert designed.file.parent == folder
    assert json.loads((folder / "design.json").read_text())["network"] == found["network"]
    page = designed.dossier.read_text(encoding="utf-8")
    for published in (designed.dossier, designed.file, folder / "README.md"):
        assert str(folder.parent).encode() not in published.read_bytes()
    assert f"on {designed.tested.images} test images of digits" in (folder / "README.md").read_text()
    for name in (
        "The data",
        "Accuracy against MACs",
        "Which ideas helped",
        "Decisions",
        "Confusion matrix",
        "Use the file",
    ):
        assert name in page


def check_accessible(page: Path) -> None:
    if EXECUTABLE is not None:
        with Browser() as browser:
            for width, dark in ((1280, False), (390, True)):
                browser.open(page, width, dark=dark)
                assert browser.violations() == []


def test_the_dossier_is_accessible(designed) -> None:
    check_accessible(designed.dossier)


def test_design_json_has_the_data_and_the_ideas(designed) -> None:
    found = json.loads((designed.request.out / "design.json").read_text())
    assert sum(found["data"]["counts"]["test"]) == found["images"]
    assert len(found["data"]["classes"]) == 10
    for each in found["ideas"]:
        low, high = each["interval"]
        assert low < each["difference"] < high
        assert each["verdict"] == ("helps" if low > 0 else "hurts" if high < 0 else "undecided")


def test_the_file_predicts_as_the_run(designed) -> None:
    images = Data("digits").dataset().test.take(torch.arange(8)).permute(0, 2, 3, 1).numpy()
    run, file = designed.run.predict(list(images)), cw.load(designed.file).predict(list(images))
    assert [each.label for each in run] == [each.label for each in file]


def test_every_candidate_has_a_fate(designed) -> None:
    found = designed.to_dict()
    names = {each["name"] for each in found["candidates"]} | {each["name"] for each in found["left_out"]}
    assert {"DenseNet-BC", "SE-ResNet", "EfficientNet"} <= names


def test_the_same_call_returns_the_finished_design(designed) -> None:
    started = time.monotonic()
    again = cw.design(resume=designed.request.out, progress=False)
    assert again.to_dict()["network"] == designed.to_dict()["network"]
    assert time.monotonic() - started < 20


def test_every_candidate_but_the_winner_has_lost_for_a_reason(designed) -> None:
    found = designed.to_dict()
    for each in found["candidates"]:
        assert bool(each["lost"]) is (each["name"] != found["candidate"])


def test_trials_have_the_epochs_that_were_trained(designed) -> None:
    folder = designed.request.out
    for trial in designed.state.trials:
        run = cw.open_run(folder / trial.run)
        assert trial.epochs == run.metrics[-1]["epoch"]
        assert trial.stopped == (trial.epochs < 0.99 * run.config.epochs)


def test_the_best_answer_of_a_finished_design_is_its_winner(designed) -> None:
    folder = designed.request.out
    found = json.loads((folder / "design.json").read_text())
    assert found["finished"]
    assert (folder / "best").resolve() == Path(found["run"]).resolve() == Path(found["best"]["run"]).resolve()


def test_another_design_does_not_replace_one(designed) -> None:
    with pytest.raises(ArgumentError, match="holds a design that differs in budget; give another folder, or continue"):
        cw.design("digits", "macs<=2M", minutes=0.5, out=designed.request.out)


def test_a_design_is_not_continued_with_a_recipe_that_has_changed_since(designed, tmp_path) -> None:
    out = tmp_path / "design"
    shutil.copytree(designed.request.out, out, symlinks=True)
    stored = json.loads((out / "state.json").read_text())
    del stored["request"]["recipe"]
    (out / "state.json").write_text(json.dumps(stored))
    assert cw.design(resume=out, progress=False).run.path == out / designed.run.path.relative_to(designed.request.out)
    stored |= {"finished": False}
    (out / "state.json").write_text(json.dumps(stored))
    with pytest.raises(ArgumentError, match="a design of another version of Convwright, in which the recipe"):
        cw.design(resume=out, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give the data"),
        ({"data": "digits", "minutes": 0.1}, "must be 0.5 or more"),
        ({"data": "digits", "minutes": 1, "hours": 1}, "give one of the two"),
        (
            {"data": "digits", "budget": "macs<=1K", "minutes": 1},
            "too small for every family; the smallest network, .* needs",
        ),
        ({"resume": "nowhere"}, "nowhere does not exist"),
        ({"resume": "nowhere", "data": "digits"}, "cannot be combined with `resume`"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(tmp_path, monkeypatch, options, message) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as raised:
        cw.design(**options, progress=False)
    assert "\n" not in str(raised.value)


def test_a_folder_with_only_temporary_files_counts_as_empty(tmp_path) -> None:
    temporary_beside(tmp_path / "state.json").touch()
    with pytest.raises(UsageError, match="too small for every family"):
        cw.design("digits", "macs<=1K", minutes=1, out=tmp_path, progress=False)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ArgumentError, match=r"is not empty \(notes\.txt\)"):
        cw.design("digits", "macs<=1K", minutes=1, out=tmp_path, progress=False)


WRONG = ("macs<=fast", "hours: must be 30 seconds", "nowhere", "out: ", "workers: ")


def test_all_wrong_values_of_a_request_are_reported_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError) as raised:
        cw.design("nowhere", "macs<=fast", hours=0.001, workers=1000, out=tmp_path, progress=False)
    messages = str(raised.value).splitlines()
    assert [next(word for word in WRONG if word in line) for line in messages] == list(WRONG)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def shades(tmp_path) -> Path:
    """Images of two classes that differ in brightness, without a split."""
    for name, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "shades" / name).mkdir(parents=True)
        for number in range(40):
            pixels = np.random.default_rng(number).integers(shade - 40, shade + 40, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shades" / name / f"{number}.png")
    return tmp_path / "shades"


@pytest.mark.slow
def test_data_without_test_images_is_split(shades) -> None:
    found = cw.design(shades, "macs<=1M", minutes=0.5, out=shades.parent / "design", progress=False)
    assert found.evaluation.split == "test"
    assert found.evaluation.images >= 4
    rows = (shades.parent / "design" / "split.csv").read_text().splitlines()
    assert len(rows) == 81
    assert any("set aside for the test" in each.decision for each in found.decisions)
    for published in (found.dossier, found.file, shades.parent / "design" / "README.md"):
        assert str(shades.parent).encode() not in published.read_bytes()
    shutil.rmtree(shades)
    again = cw.design(resume=shades.parent / "design", progress=False)
    assert again.to_dict() == found.to_dict() | {"seconds": again.to_dict()["seconds"]}
    assert str(again).splitlines()[:5] == str(found).splitlines()[:5]
    assert again.file.exists()


def test_data_with_validation_but_no_test_images_is_refused(shades) -> None:
    (shades / "train").mkdir()
    for name in ("dark", "light"):
        (shades / name).rename(shades / "train" / name)
        (shades / "val" / name).mkdir(parents=True)
        for path in [*(shades / "train" / name).iterdir()][:5]:
            path.rename(shades / "val" / name / path.name)
    with pytest.raises(ArgumentError, match="no test images found"):
        cw.design(shades, minutes=0.5, out=shades.parent / "design", progress=False)


def test_a_folder_with_other_files_is_refused(tmp_path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="is not empty"):
        cw.design("digits", minutes=0.5, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_damaged_progress_is_refused(tmp_path) -> None:
    (tmp_path / "state.json").write_text('{"schema_version": 1}')
    with pytest.raises(RunError, match="damaged file"):
        cw.design(resume=tmp_path)


def check_best_answer(out: Path) -> None:
    """Check that a design with a finished trial names its best network so far, and that it predicts."""
    state = State.open(out)
    if state.best is None:
        assert not state.trials
        return
    run = cw.open_run(out / state.best.run)
    assert not as_budget(BUDGET).exceeded_by(cost(run.network))
    assert run.predict([np.zeros((8, 8), np.uint8)])[0].label in run.classes
    if not state.winner:
        assert state.best.accuracy >= max((each.accuracy for each in state.trials), default=0.0)
    if not (out / "dossier.html").exists():
        assert not json.loads((out / "design.json").read_text())["finished"]
    if (out / "best").is_symlink():  # unless it was killed between the state and the link
        assert cw.open_run(out / "best").network.name in {each.network.name for each in state.candidates}


def test_a_stopped_design_names_its_best_network(tmp_path) -> None:
    out = tmp_path / "digits"
    command = [sys.executable, "-m", "convwright", "design", "digits", "--budget", BUDGET, "--minutes", "0.75"]
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    started = [*command, "--out", str(out)]
    with subprocess.Popen(started, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as design:
        for line in design.stderr:
            if "round 1: " in line:
                design.send_signal(signal.SIGINT)
                break
        _, errors = design.communicate(timeout=120)
    assert design.returncode == 128 + signal.SIGINT, errors
    last = errors.strip().splitlines()[-1]
    assert f"the best network so far is in {out / 'best'} (" in last
    assert f"continue with convwright design --resume {out}" in last
    exported = cw.export(out / "best", tmp_path / "best.onnx")
    assert exported.path.exists()
    check_best_answer(out)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 10])
def test_a_killed_design_loses_no_trial(tmp_path, kills: int) -> None:
    out, moments = tmp_path / "digits", random.Random(kills)
    command = [sys.executable, "-m", "convwright", "design"]
    start = [*command, "digits", "--budget", BUDGET, "--minutes", "0.75", "--out", str(out)]
    trials: list[str] = []
    for _ in range(kills):
        process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(4, 14))
        process.kill()
        process.wait()
        if (out / "state.json").exists():
            check_best_answer(out)
            state = json.loads((out / "state.json").read_text())
            found = [f"{each['candidate']} {each['round']}" for each in state["trials"]]
            assert found[: len(trials)] == trials
            trials = found
            start = [*command, "--resume", str(out)]
    done = subprocess.run([*start, "--json"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    names = [(each["candidate"], each["round"]) for each in json.loads((out / "state.json").read_text())["trials"]]
    assert len(names) == len(set(names))
    assert [f"{name} {round_}" for name, round_ in names][: len(trials)] == trials
    assert Path(json.loads(done.stdout)["file"]).exists()


def test_an_ablation_measures_each_idea(tmp_path) -> None:
    found = cw.ablate("digits", "cifar_resnet8", minutes=0.1, seeds=2, out=tmp_path / "ablation")
    result = found.to_dict()
    names = {each["idea"] for each in result["effects"]}
    assert {"SE, ratio 16", "SE, ratio 4", "Dense connections"} <= names
    base = next(each for each in result["variants"] if each["name"] == "base")
    for each in result["variants"]:
        assert len(each["accuracies"]) == 2
        if each["name"] != "base" and not each["name"].startswith("SE"):
            assert each["macs"] <= 1.001 * base["macs"]
    for effect in result["effects"]:
        assert effect["sentence"].endswith(".")
        assert effect["verdict"] in ("helps", "hurts", "undecided")
    again = cw.ablate("digits", "cifar_resnet8", minutes=0.1, seeds=2, out=tmp_path / "ablation")
    assert again.to_dict() == result
    same = cw.ablate("digits", "cifar_resnet8", epochs=result["epochs"], seeds=2, out=tmp_path / "ablation")
    assert same.to_dict() == result
    with pytest.raises(ArgumentError, match=r"minutes: must be 0\.1 for the ablation in .*, not 5; give"):
        cw.ablate("digits", "cifar_resnet8", minutes=5, seeds=2, out=tmp_path / "ablation")
    with pytest.raises(ArgumentError, match=r"`?epochs`?; give one of the two"):
        cw.ablate("digits", "cifar_resnet8", minutes=1, epochs=1, out=tmp_path / "ablation")
    found.save_html(tmp_path / "page.html")
    assert "What each idea changes" in (tmp_path / "page.html").read_text(encoding="utf-8")
    check_accessible(tmp_path / "page.html")

"""Kills, full disks and second writers: nothing is half-written, and results stay what they are."""

import json
import random
import shutil
import subprocess
import sys
import time

import httpx
import pytest

import convwright as cw
from convwright.data import open_dataset
from convwright.training.run import Run

from ..photos import temple_and_flower
from ..subjects import trained_run
from .harness import (
    COMMAND,
    Count,
    Job,
    check_files,
    ended,
    environment,
    finish,
    kill_at_random,
    killed_until_done,
    launched,
    size_of,
    starved_until_done,
    two_at_once,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, mounts and limits of Linux")
NETWORK = "cifar_resnet8|scale:w=0.5"


def trained(folder):
    return Run.open(folder / "run").weights.read_bytes()


def searched(folder):
    """Return the accuracies of a study, without what the clock says."""
    found = json.loads((folder / "study" / "search.json").read_text())
    return [(row["place"], row["accuracies"]) for row in found["networks"]]


def exported(folder):
    return (
        cw.load(folder / "digits.onnx").predict(folder.parent / "photos" / "flower" / "00.png").to_dict()["predictions"]
    )


def cached(folder):
    """Return what an opened folder holds, read through the cache that the killed commands filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        data = open_dataset(str(folder.parent / "photos"), resolution=64)
        return data.fingerprint, data.train.images.sum().item(), data.val.images.sum().item()


TRAIN = Job(
    lambda folder: ["train", "--data", "digits", "--network", NETWORK, "--epochs", "1", "--checkpoint-every", "0.001",
                    "--out", folder / "run"],
    trained,
    lambda folder: ["train", "--resume", folder / "run"],
    lambda folder: (folder / "run" / "config.yaml").exists(),
)  # fmt: skip
STUDY = ["scale", "search", "cifar_seresnet8|scale:w=0.5", "--data", "digits", "--tolerance", "0.2", "--rungs", "2"]
STUDY += ["--epochs", "0.5", "--seeds", "1", "--set", "progressive=0"]
SEARCH = Job(lambda folder: [*STUDY, "--out", folder / "study"], searched)
EXPORT = Job(lambda folder: ["export", trained_run(), "--out", folder / "digits.onnx"], exported)
CACHE = Job(
    lambda folder: ["train", "--data", folder.parent / "photos", "--network", NETWORK, "--resolution", "64", "--epochs",
                    "0.1", "--no-fused", "--out", folder / "run"],
    cached,
    lambda folder: ["train", "--resume", folder / "run"],
    lambda folder: (folder / "run" / "config.yaml").exists(),
    True,
)  # fmt: skip
JOBS = {"train": TRAIN, "search": SEARCH, "export": EXPORT, "cache": CACHE}


def some(*quick):
    """Return all jobs as parameters; those that are not named take minutes, or have tests of their own."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in JOBS]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function that runs a job without interruption, once: its folder, and its result."""
    root, found = tmp_path_factory.mktemp("whole"), {}

    def run(name):
        if name not in found:
            folder = root / name / "folder"
            folder.mkdir(parents=True)
            (folder.parent / "photos").mkdir()
            temple_and_flower(folder.parent / "photos")
            finish(JOBS[name], folder)
            check_files(folder, Count())
            found[name] = folder, JOBS[name].result(folder)
        return found[name]

    return run


@pytest.fixture
def folder(tmp_path):
    """A folder to work in, beside photographs."""
    (tmp_path / "photos").mkdir()
    temple_and_flower(tmp_path / "photos")
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.mark.parametrize("name", some("export"))
def test_kills(name, folder, whole, times, record):
    killed_until_done(JOBS[name], folder, whole(name)[1], times, record)


@pytest.mark.parametrize("name", some("search"))
def test_full_disks(name, folder, whole, times, record):
    done, result = whole(name)
    folder.rmdir()
    starved_until_done(JOBS[name], folder, result, size_of(done), times, record)


@pytest.mark.parametrize("name", some("export"))
def test_two_writers(name, folder, whole, times, record):
    for turn in range(max(1, times // 4)):
        (folder.parent / str(turn)).mkdir()
        two_at_once(JOBS[name], folder.parent / str(turn), whole(name)[1], record)


@pytest.mark.slow
def test_a_file_that_is_exported_again_is_the_old_or_the_new_one(folder, whole, times, record):
    """An export over a file that is there, of another network, so that the two differ."""
    _, new = whole("export")
    other = folder.parent / "other"
    cw.train("digits", network=NETWORK, epochs=0.1, out=other, progress=False)
    assert (
        ended(launched(Job(lambda folder: ["export", other, "--out", folder / "digits.onnx"], exported), folder))[0]
        == 0
    )
    old = exported(folder)
    assert old != new
    draw = random.Random(record.seed)
    for _ in range(times):
        kill_at_random(EXPORT, folder, draw, record)
        check_files(folder, record)
        assert exported(folder) in (old, new)
    finish(EXPORT, folder)
    assert exported(folder) == new
    record.equal += 1


def test_a_killed_service_answers_as_before(folder, times, record):
    """The service reads its run and fits limits into it; killed at any moment, it starts again."""
    run, draw = folder / "run", random.Random(record.seed)
    shutil.copytree(trained_run(), run)
    image = (folder.parent / "photos" / "flower" / "00.png").read_bytes()
    before = {name: (run / name).read_bytes() for name in ("model.safetensors", "config.yaml", "network.json")}
    answers = []
    for turn in range(times + 1):
        process = subprocess.Popen(
            [*COMMAND, "serve", str(run), "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment(folder)
        )
        try:
            if turn == times or draw.random() < 0.5:
                answers.append(answer_of(json.loads(process.stderr.readline())["address"], image))
            else:
                time.sleep(draw.uniform(0, 5))
        finally:
            process.kill()
            process.communicate()
        record.kills += 1
        check_files(folder, record)
        assert {name: (run / name).read_bytes() for name in before} == before
    assert all(answer == answers[0] for answer in answers)
    record.equal += len(answers)


def answer_of(address, image):
    """Return what a service predicts, once it is ready."""
    for _ in range(1200):
        try:
            answer = httpx.post(f"{address}/predict", content=image, headers={"Content-Type": "image/png"}, timeout=60)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code == 200:
            return answer.json()["predictions"]
        time.sleep(0.05)
    raise AssertionError("the service does not answer")


@pytest.mark.slow
def test_a_killed_design_ends_with_a_network(folder, times, record):
    """A design has a time limit, so that its result may differ; what it has recorded stays, and it ends with a file."""
    out, trials = folder / "design", []
    design = Job(
        lambda folder: ["design", "digits", "--budget", "macs<=1M, params<=60K", "--minutes", "0.6", "--out", out],
        lambda folder: None,
        lambda folder: ["design", "--resume", out],
        lambda folder: (out / "state.json").exists(),
    )
    draw = random.Random(record.seed)
    for _ in range(max(2, times // 4)):
        kill_at_random(design, folder, draw, record)
        check_files(folder, record)
        if (out / "state.json").exists():
            found = json.loads((out / "state.json").read_text())["trials"]
            assert found[: len(trials)] == trials
            trials = found
    finish(design, folder)
    check_files(folder, record)
    assert json.loads((out / "state.json").read_text())["trials"][: len(trials)] == trials
    file = next(path for path in out.iterdir() if path.suffix in (".onnx", ".xml"))
    assert cw.load(file).classes == tuple("0123456789")
    record.equal += 1

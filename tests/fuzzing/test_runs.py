"""Fuzzing of run directories and of requests to train."""

import csv
import io
import json
import random
import shutil

import pytest
import torch
import yaml
from hypothesis import strategies as st

import convwright as cw
from convwright.checksums import NAME, Checksums
from convwright.files import digest_of
from convwright.prediction.network import load
from convwright.training.config import TrainConfig
from convwright.training.interrupt import Interrupted
from convwright.training.run import Run
from convwright.training.training_images import training_images_of

from ..mutations import VALUES, damaged, mutated
from ..training.test_loop import StopAfter

SEEDS = st.integers(0, 2**40)
NETWORK = "cifar_resnet8|scale:w=0.25"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped after its first checkpoints."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    plan = cw.prepare("digits", network=NETWORK, epochs=0.5, out=out, progress=False)
    with pytest.raises(Interrupted):
        cw.train(plan, callbacks=[StopAfter(12)], progress=False)
    return out


def read_everything(path):
    """Read what the files of a run hold, as the commands do."""
    run = Run.open(path)
    assert run.metrics is not None
    if run.finished:
        assert 0 <= run.summary.val_accuracy <= 1
    load(path).probabilities(torch.zeros(2, 1, 8, 8, dtype=torch.uint8).numpy())
    training_images_of(run)
    run.load_checkpoint()
    cw.open_run(path)._repr_html_()


def changed(name: str, content: bytes, draw: random.Random) -> bytes:
    """Change a file of a run: a value in it where it has some, or its bytes."""
    if draw.random() < 0.3 or not name.endswith((".json", ".yaml", ".csv")):
        return damaged(content, draw)
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(content.decode())))
        row = draw.choice(rows)
        row[draw.randrange(len(row))] = draw.choice(("", "nan", "inf", "-1", "text", "1e999", "0", "\x1b", '"'))
        return "\n".join(map(",".join, rows)).encode()
    value = mutated(yaml.safe_load(content) if name.endswith(".yaml") else json.loads(content), draw)
    text = yaml.safe_dump(value) if name.endswith(".yaml") else json.dumps(value)
    return text.replace(str(10**400), "9" * 5000).encode()


def put(run, name: str, content: bytes, checksum: str) -> None:
    """Put content into a run: with its old checksum, with a new one, or into a run without checksums."""
    (run / name).write_bytes(content)
    if checksum == "none":
        (run / NAME).unlink()
    elif checksum == "new" and name != NAME:
        Checksums(run).record({name: digest_of(content)})


def fuzz_files(fuzz, source, target, use, examples: int) -> None:
    """Change one file of a run at a time, use the run, and put the file back."""
    shutil.copytree(source, target)
    whole = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    names = sorted(name for name, content in whole.items() if content)

    def change(seed: int) -> tuple[str, bytes, str]:
        draw = random.Random(seed)
        name = draw.choice(names)
        return name, changed(name, whole[name], draw), draw.choice(("new", "new", "none", "old"))

    def one(value: tuple[str, bytes, str]) -> None:
        try:
            put(target, *value)
            use(target)
        finally:
            shutil.rmtree(target)
            for name, content in whole.items():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(content)

    fuzz(SEEDS.map(change), one, examples)


def test_run_files(fuzz, run, tmp_path):
    fuzz_files(fuzz, run, tmp_path / "run", read_everything, 15)


def test_checkpoints(fuzz, stopped, tmp_path):
    """A run that is resumed ends, from a checkpoint that is whole, or is refused."""

    def use(path) -> None:
        resumed = cw.resume(path, progress=False)
        assert Run.open(resumed.path).finished
        assert resumed.summary.steps == 20

    fuzz_files(fuzz, stopped, tmp_path / "run", use, 6)


@pytest.fixture(scope="module")
def config_text(run):
    return Run.open(run).config.to_yaml()


def test_configurations(fuzz, config_text, tmp_path):
    path = tmp_path / "config.yaml"

    def use(content: bytes) -> None:
        path.write_bytes(content)
        read = TrainConfig.from_yaml(path)
        assert yaml.safe_load(read.to_yaml())
        request = cw.TrainRequest.from_yaml(path)
        request.to_yaml(tmp_path / "again.yaml")
        assert cw.TrainRequest.from_yaml(tmp_path / "again.yaml").given() == request.given()

    def content(seed: int) -> bytes:
        return changed("config.yaml", config_text.encode(), random.Random(seed))

    fuzz(SEEDS.map(content) | st.binary(max_size=60) | st.text(max_size=60).map(str.encode), use, 60)


FIELDS = st.sampled_from(sorted(cw.TrainRequest.model_fields)) | st.text(max_size=8)
PLAUSIBLE = st.sampled_from(
    ("auto", "sgd", "cosine", "fast", "digits", "16-mixed", NETWORK, (0.5, 0.8), 0.1, 1, 2, True)
)
ANYTHING = st.sampled_from(VALUES) | st.floats() | st.integers() | st.text(max_size=8) | PLAUSIBLE
REQUESTS = st.dictionaries(FIELDS, ANYTHING | PLAUSIBLE, max_size=4)


def test_requests(fuzz, tmp_path, monkeypatch):
    """Options as a caller gives them; those that are right are planned, and nothing is trained."""
    monkeypatch.chdir(tmp_path)

    def use(fields: dict[str, object]) -> None:
        request = cw.TrainRequest(**({"data": "digits", "network": NETWORK} | fields))
        repr(request)
        measured = {"minutes", "find_lr", "batch_size", "compile", "weights", "teacher", "folds", "devices", "fold"}
        if not measured & request.given().keys():
            planned = cw.prepare(request, progress=False)
            assert planned.to_dict()

    fuzz(REQUESTS, use, 60)

"""Every file of a run is checked when it is read: against its checksum, and every value in it."""

import csv
import json
import random
import shutil
import warnings

import pytest
import yaml

import convwright as cw
from convwright.checksums import NAME, Checksums
from convwright.data import open_dataset
from convwright.errors import ConvwrightError, ConvwrightWarning, RunError
from convwright.files import digest_of
from convwright.json_text import dump, parse
from convwright.prediction.network import load
from convwright.training.config import TrainConfig
from convwright.training.initial_weights import find_initial_weights
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.run import LOCK, Run
from convwright.training.training_images import training_images_of

from ..mutations import mutated

FLIPS = 200


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.fixture(scope="module")
def finished(digits, tmp_path_factory):
    """A finished run that started from the weights of another one, with a file that no reader of ours knows."""
    folder = tmp_path_factory.mktemp("finished")
    for name, spec in (("first", None), ("run", str(folder / "first"))):
        network = cw.network("cifar_seresnet8")
        config, planned = plan(digits, network, epochs=0.3, weights=spec)
        weights = find_initial_weights(spec, network) if spec else None
        train(config, planned, digits, folder / name, files={"lr_finder.csv": "learning_rate,loss\n"}, initial=weights)
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def read_everything(path):
    """Read all that a run directory holds, as the commands do."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a damaged checkpoint is passed over with a warning
        run = Run.open(path)
        assert run.metrics
        assert run.summary.val_accuracy >= 0
        load(path)
        assert run.load_checkpoint() is not None
        assert find_initial_weights(str(path), run.network)
        assert training_images_of(run)
        for name in (run.INITIAL, "lr_finder.csv"):
            run.files.read(name)
        for checkpoint in (path / "checkpoints").glob("*.pt"):
            run.files.verified(f"checkpoints/{checkpoint.name}")


def test_one_flipped_bit_in_any_file_of_a_run_is_noticed(run):
    read_everything(run)
    draw = random.Random(0)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path != run / LOCK)
    assert {path.name for path in files} >= {NAME, "config.yaml", "model.safetensors", "metrics.csv", "summary.json"}
    for number in range(FLIPS):
        path = files[number % len(files)]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises((ConvwrightError, ConvwrightWarning)) as raised:
            read_everything(run)
        assert path.name == NAME or path.name in str(raised.value)
        assert "\n" not in str(raised.value)
        path.write_bytes(whole)
    read_everything(run)


@pytest.mark.parametrize("mutations", [600, pytest.param(3000, marks=pytest.mark.slow)])
def test_files_with_wrong_values_are_one_clear_error(run, mutations):
    """Of a run without checksums, as earlier versions wrote it, every value is checked by its type and range."""
    (run / NAME).unlink()
    draw = random.Random(1)
    readers = {
        "data.json": lambda: Run.open(run),
        "classes.json": lambda: Run.open(run),
        "network.json": lambda: Run.open(run),
        "config.yaml": lambda: TrainConfig.from_yaml(run / "config.yaml"),
        "summary.json": lambda: opened.summary,
        "metrics.csv": lambda: opened.metrics,
    }
    refused = dict.fromkeys(readers, 0)
    messages = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)
        opened = Run.open(run)
        for number in range(mutations):
            name = list(readers)[number % len(readers)]
            whole = (run / name).read_text()
            (run / name).write_text(_mutated(name, whole, draw))
            try:
                readers[name]()
            except ConvwrightError as error:
                messages.append(str(error))
                refused[name] += 1
            finally:
                (run / name).write_text(whole)
    assert [line for text in messages for line in text.split("\n") if not line.startswith(str(run))] == []
    assert all(count > mutations / len(readers) / 5 for count in refused.values()), refused


def _mutated(name, text, draw):
    if draw.random() < 0.2:  # as text
        place = draw.randrange(len(text))
        return (
            text[:place] + draw.choice(["", "\0", "NaN", "1e999", '"', "[", "-", "9" * 5000, ","]) + text[place + 1 :]
        )
    if name == "metrics.csv":
        rows = [line.split(",") for line in text.splitlines()]
        row = draw.choice(rows)
        row[draw.randrange(len(row))] = draw.choice(["", "nan", "inf", "-1", "text", "1e999"])
        return "\n".join(",".join(row) for row in rows)
    value = mutated(yaml.safe_load(text) if name == "config.yaml" else parse(text, name), draw)
    try:
        return yaml.safe_dump(value) if name == "config.yaml" else dump(value)
    except ConvwrightError:
        return str(value)


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("data.json", '"std": [\n  ', '"std": [\n  -', r"data\.json: std\.0: must be above 0"),
        (
            "data.json",
            '"channels": 1',
            '"channels": 3',
            r"data\.json: mean and std must have .* 3 in all",
        ),
        ("data.json", '"resolution": 8', '"resolution": 16', r"data\.json has 1 channel of 16 px, and the network 1"),
        ("classes.json", '"3"', "3", r"classes\.json: classes\.3: must be text, not 3"),
        ("summary.json", '"params": ', '"params": null, "x": ', r"summary\.json: params: .*, not None"),
        ("metrics.csv", "val_loss", "loss", r"metrics\.csv: must have one column 'val_loss'"),
    ],
)
def test_wrong_values_are_named(run, name, before, after, message):
    (run / NAME).unlink()
    text = (run / name).read_text()
    assert before in text
    (run / name).write_text(text.replace(before, after))
    with warnings.catch_warnings(), pytest.raises(RunError, match=message):  # noqa: PT012
        warnings.simplefilter("ignore", ConvwrightWarning)
        opened = Run.open(run)
        _ = opened.metrics, opened.summary


def test_a_configuration_with_aliases_or_deep_nesting_is_refused_at_once(tmp_path):
    path = tmp_path / "config.yaml"
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    for text in ("\n".join(levels), "a: " + "[" * 3000 + "]" * 3000, "\n".join(" " * n + "a:" for n in range(3000))):
        path.write_text(text)
        with pytest.raises(
            ConvwrightError, match=r"config\.yaml: not a readable YAML file: (aliases|nested more than)"
        ):
            TrainConfig.from_yaml(path)


@pytest.mark.parametrize("text", [">\U00011500", "*\U00011500", "a: [\u202e"])
def test_what_is_wrong_with_yaml_can_be_printed(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConvwrightError, match="not a readable YAML file") as error:
        TrainConfig.from_yaml(path)
    assert str(error.value).isprintable()


def test_a_configuration_that_was_edited_inside_its_run_is_named(run):
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(RunError, match=r"config\.yaml: its checksum is wrong"):
        TrainConfig.from_yaml(path)
    shutil.copy(path, run.parent / "config.yaml")
    assert TrainConfig.from_yaml(run.parent / "config.yaml").seed == 1


def test_weights_that_are_gone_are_told_from_weights_that_are_not_there_yet(run, digits, tmp_path):
    (run / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"model\.safetensors: missing, although the run has ended"):
        load(run)
    config, network = plan(digits, cw.network("cifar_seresnet8"))
    opened = Run.open(run)
    fresh = Run.create(tmp_path / "fresh", config, network, digits.classes, opened.data)
    with pytest.raises(RunError, match="no weights yet; a run has some after its first validation"):
        load(fresh.path)


def test_a_run_of_an_earlier_version_gets_checksums_when_it_is_resumed(run, digits):
    (run / NAME).unlink()
    (run / "summary.json").unlink()
    with pytest.warns(ConvwrightWarning, match="runs of earlier versions"):
        opened = Run.open(run)
    resume(opened, digits)
    read_everything(run)
    assert Checksums(run).recorded


def test_a_run_directory_removed_during_training_is_one_error(digits, tmp_path):
    from convwright.training.callbacks import Callback

    class Remover(Callback):
        def on_step(self, step):
            if step.number == 3:
                shutil.rmtree(tmp_path / "run")

    config, network = plan(digits, cw.network("cifar_seresnet8"), epochs=0.3)
    with pytest.raises(ConvwrightError, match="could not be written: No such file or directory"):
        train(config, network, digits, tmp_path / "run", [Remover()])


@pytest.mark.parametrize("name", ["network.json", "config.yaml", "model.safetensors"])
def test_a_run_s_file_is_checked_also_when_it_is_given_alone(run, name):
    from convwright.arch.expression import load_network
    from convwright.weights import read_tensors

    read = {"network.json": load_network, "config.yaml": TrainConfig.from_yaml, "model.safetensors": read_tensors}
    assert read[name](run / name)
    content = bytearray((run / name).read_bytes())
    content[-3] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(RunError, match="its checksum is wrong"):
        read[name](run / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2", "the field 'seed' occurs twice"),
        ("seed: true", "seed: must be a whole number"),
        ("epochs: yes", "epochs: must be a number, above 0 and 1000000 or less, not 'yes'"),
        ("batch_size: 1:30", "batch_size: must be a whole number"),
        ("recipe: {flip: yes}", r"recipe\.flip: must be true or false, not 'yes'"),
        ("recipe: {flip: 0}", r"recipe\.flip: must be true or false, not 0"),
        ("epochs: 1e308", r"epochs: must be above 0 and 1000000 or less, not 1e\+308"),
        ("recipe: {learning_rate: 1e300}", r"recipe\.learning_rate: must be above 0 and 1e\+30 or less"),
    ],
)
def test_configurations_with_doubtful_values_are_refused(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(f"data: digits\nnetwork: cifar_resnet8\nresolution: 8\n{text}\n")
    with pytest.raises(ConvwrightError, match=message):
        TrainConfig.from_yaml(path)


def test_numbers_of_a_configuration_are_decimal(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("data: digits\nnetwork: cifar_resnet8\nresolution: 8\nseed: 032\nepochs: 1e-1\n")
    read = TrainConfig.from_yaml(path)
    assert (read.seed, read.epochs) == (32, 0.1)
    path.write_text(read.model_copy(update={"data": "yes", "network": "0x1f"}).to_yaml())
    assert (TrainConfig.from_yaml(path).data, TrainConfig.from_yaml(path).network) == ("yes", "0x1f")


def test_a_run_whose_checkpoints_are_lost_is_not_started_over(digits, tmp_path):
    """Starting over would replace the best weights so far by those of a first validation."""
    from convwright.training.interrupt import Interrupted

    from .test_loop import StopAfter

    config, network = plan(digits, cw.network("cifar_seresnet8"), epochs=0.75)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(25)])
    run = Run.open(tmp_path / "run")
    assert len(run.metrics) == 2
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = run.weights.read_bytes()
    with pytest.raises(RunError, match=r"no readable checkpoint, so the run cannot be resumed; its best weights stay"):
        resume(run, digits)
    assert run.weights.read_bytes() == before


def test_missing_metrics_of_a_finished_run_are_named(run):
    (run / "metrics.csv").unlink()
    with pytest.raises(RunError, match=r"metrics\.csv: missing, although the run has ended"):
        _ = Run.open(run).metrics


def rewritten(path, content):
    """Write a file of a run, with its checksum."""
    path.write_bytes(content)
    Checksums(path.parent).record({path.name: digest_of(content)})


def test_files_have_a_version_and_are_read_without_one(run):
    before = cw.open_run(run)
    assert json.loads((run / "classes.json").read_text())["schema_version"] == 2
    with (run / "metrics.csv").open() as file:
        assert {row["schema_version"] for row in csv.DictReader(file)} == {"1"}
    assert before.load_checkpoint()["schema_version"] == 1
    rewritten(run / "classes.json", json.dumps(list(before.classes)).encode())
    lines = (run / "metrics.csv").read_text().splitlines()
    rewritten(run / "metrics.csv", "".join(line.rpartition(",")[0] + "\n" for line in lines).encode())
    after = cw.open_run(run)
    assert (after.classes, after.metrics) == (before.classes, before.metrics)


def test_files_of_a_newer_version_are_refused(run):
    stored = json.loads((run / "classes.json").read_text())
    text = (run / "metrics.csv").read_text()
    rewritten(run / "metrics.csv", text.replace(",1\n", ",2\n").encode())
    with pytest.raises(RunError, match=r"metrics\.csv: line 2: schema_version: 2 is of a newer version of Convwright"):
        _ = cw.open_run(run).metrics
    rewritten(run / "classes.json", json.dumps(stored | {"schema_version": 3}).encode())
    with pytest.raises(RunError, match=r"classes\.json: schema_version: 3 is of a newer version .* reads 2"):
        cw.open_run(run)


@pytest.mark.parametrize(("version", "message"), [(2, "2 is of a newer version"), ("x", "must be a whole number")])
def test_checkpoints_of_a_newer_version_are_refused(digits, tmp_path, version, message):
    from convwright.training.interrupt import Interrupted

    from .test_loop import StopAfter

    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(3)])
    run = Run.open(tmp_path / "run")
    state = run.load_checkpoint()
    run.save_checkpoint(3, state | {"schema_version": version})
    with pytest.raises(RunError, match=rf"step-000000003\.pt: schema_version: {message}"):
        resume(run, digits)
    run.save_checkpoint(3, {name: value for name, value in state.items() if name != "schema_version"})
    assert resume(run, digits).steps == 20

"""Options of train that measure something before the run starts, and wrong ones, which are refused."""

import csv
import re

import pytest
import yaml

from convwright.training.run import Run

QUICK = ("--data", "digits", "--network", "cifar_resnet8", "--epochs", 0.1)


def test_the_curve_is_kept_and_the_rate_is_in_the_configuration(tmp_path, convwright):
    options = ("--data", "digits", "--network", "cifar_resnet8", "--epochs", 0.1, "--find-lr")
    answer = convwright("train", *options, "--out", tmp_path / "run")
    assert answer.status == 0
    with (tmp_path / "run" / "lr_finder.csv").open() as file:
        rows = list(csv.DictReader(file))
    lowest = min(rows, key=lambda row: float(row["loss"]))
    rate = Run.open(tmp_path / "run").config.recipe.learning_rate
    assert rate == pytest.approx(float(lowest["learning_rate"]) / 10, rel=0.05)
    assert f"learning rate {rate:g}: a tenth" in answer.err


def test_batch_size_auto(tmp_path, convwright):
    options = ("--data", "digits", "--network", "cifar_resnet8", "--epochs", 0.1, "--batch-size", "auto")
    answer = convwright("train", *options, "--out", tmp_path / "run")
    assert answer.status == 0
    assert Run.open(tmp_path / "run").config.batch_size == 32
    answer = convwright("train", "--data", "digits", "--batch-size", "some")
    assert (answer.status, "--batch-size: must be " in answer.message) == (2, True)


def test_every_option_of_the_recipe_reaches_the_configuration(tmp_path, convwright):
    options = {
        **{"optimizer": "adamw", "lr": 0.003, "momentum": 0.8, "weight-decay": 0.01, "schedule": "cosine"},
        **{"warm-up": 0.3, "label-smoothing": 0.05, "class-weights": "effective", "accumulate": 2, "clip-norm": 3.0},
        **{"ema": 0.5, "progressive": 0.5, "dropout": 0.1, "stochastic-depth": 0.1, "patience": 3, "crop": 1},
        **{"norm-momentum": 0.2},
        **{"randaugment": 4, "erasing": 0.1, "mixup": 0.2, "cutmix": 0.3, "crop-scale": 0.5, "rotation": 5.0},
        **{"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1, "focal": 1.0},
        **{"effective-beta": 0.9, "crop-ratio": 1.5},
    }
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    given += ["--flip", "--trivialaugment", "--no-nesterov", "--milestone", 0.2, "--milestone", 0.4]
    answer = convwright("train", *QUICK, *given, "--out", tmp_path / "run")
    assert answer.status == 0, answer.err
    recipe = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["recipe"]
    for name, value in options.items():
        assert recipe[{"lr": "learning_rate"}.get(name, name.replace("-", "_"))] == value
    assert (recipe["flip"], recipe["nesterov"], recipe["milestones"]) == (True, False, [0.2, 0.4])
    others = {"optimizer", "learning_rate", "flip", "trivialaugment", "nesterov", "milestones", "sampling"}
    others |= {
        "freeze",
        "freeze_epochs",
        "freeze_norm",
        "unfrozen_rate",
        "backbone_rate",
        "layer_decay",
    }  # need weights
    others |= {"distillation", "temperature"}  # need a teacher
    assert set(recipe) == others | {name.replace("-", "_") for name in options if name != "lr"}, (
        "fields without options"
    )
    again = convwright("train", "--config", tmp_path / "run" / "config.yaml", "--no-flip", "--out", tmp_path / "again")
    assert again.status == 0
    assert yaml.safe_load((tmp_path / "again" / "config.yaml").read_text())["recipe"] == recipe | {"flip": False}
    other = convwright(
        "train", "--config", tmp_path / "run" / "config.yaml", "--recipe", "senet", "--out", tmp_path / "other"
    )
    assert other.status == 0
    changed = yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())["recipe"]
    assert (changed["optimizer"], changed["mixup"], changed["nesterov"]) == ("sgd", 0.0, False)


@pytest.mark.parametrize(
    ("option", "value"), [("class-weights", "balanced"), ("class-weights", "effective"), ("sampling", "balanced")]
)
def test_every_way_to_balance_classes_reaches_the_configuration(option, value, tmp_path, convwright):
    answer = convwright("train", *QUICK, f"--{option}", value, "--out", tmp_path / "run")
    assert answer.status == 0, answer.err
    recipe = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["recipe"]
    assert recipe[option.replace("-", "_")] == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--recipe", "best"],
            "--recipe: must be 'densenet' or .* or 'fast' or 'fine-tune', not 'best'",
        ),
        (["--ema", "1"], "--ema: .*below 1"),
        (["--class-weights", "fair"], "--class-weights: .*'balanced'"),
        (["--schedule", "linear"], "--schedule: .*'exponential'"),
        (["--patience", "0"], "--patience: .*1 to 1000000, not 0"),
        (["--network", "densenet_bc_l16_k12", "--stochastic-depth", "0.2"], "no block has a residual sum"),
        (["--workers", "-1"], "--workers"),
        (["--devices", "2", "--fused"], "fused operators are for one device; with --devices, use --no-fused"),
        (["--devices", "1000"], "--devices: this machine has"),
        (["--mlflow", "x", "--resume", "absent"], "absent: no such run"),
    ],
)
def test_wrong_options_are_refused(arguments, message, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = (
        convwright("train", *QUICK[:4], *arguments) if "--resume" not in arguments else convwright("train", *arguments)
    )
    assert answer.status == 2
    assert re.search(message, answer.message)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    import signal
    import subprocess
    import sys

    path = tmp_path_factory.mktemp("started") / "run"
    command = [sys.executable, "-m", "convwright", "train", *map(str, QUICK[:4]), "--epochs", "50", "--out", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (path / "metrics.csv").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.5"], "--learning-rate: is 0.025 in .*, not 0.5"),
        (["--epochs", "3"], "--epochs: is 50.0 in .*, not 3.0"),
        (["--network", "resnet18"], "--network: is 'cifar_resnet8.*' in .*, not 'resnet18'"),
        (["--data", "fashion-mnist"], "--data: is 'digits' in .*, not 'fashion-mnist'"),
        (["--recipe", "fast"], "--recipe: cannot be combined with --resume"),
    ],
)
def test_a_run_is_not_resumed_as_another(started, arguments, message, convwright):
    answer = convwright("train", "--resume", started, *arguments)
    assert answer.status == 2
    assert re.search(message, answer.message)


def test_options_that_say_what_the_run_says_do_no_harm(started, convwright):
    wrong = convwright("train", "--resume", started, *QUICK[:4], "--lr", 0.025, "--seed", 1)
    assert "--seed: is 0 in " in wrong.message  # and nothing before it


def test_predictions_name_the_files(tmp_path, convwright):
    from PIL import Image

    for number in range(20):
        folder = tmp_path / "data" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 40 + 160 * (number % 2) + number).save(folder / f"{number}.png")
    options = ("--network", "cifar_resnet8", "--epochs", 1, "--out", tmp_path / "run")
    assert convwright("train", "--data", tmp_path / "data", *options).status == 0
    answer = convwright("evaluate", tmp_path / "run", "--split", "train", "--predictions", tmp_path / "p.csv")
    assert answer.status == 0
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all((tmp_path / "data" / row["image"]).is_file() for row in rows)
    assert {row["image"].split("/")[0] == row["label"] for row in rows} == {True}


def test_classes_that_a_split_lacks_are_told(tmp_path, convwright):
    from PIL import Image

    for split, names in (("train", "abc"), ("val", "ac"), ("test", "a")):
        for number in range(6):
            folder = tmp_path / "data" / split / names[number % len(names)]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.png")
    options = ("--network", "cifar_resnet8", "--epochs", 1, "--out", tmp_path / "run")
    answer = convwright("train", "--data", tmp_path / "data", *options)
    assert answer.status == 0, answer.err
    assert "there are no validation images of b\nthere are no test images of b, c\n" in answer.err


def test_operators_are_chosen(tmp_path, convwright):
    answer = convwright("train", *QUICK, "--no-fused", "--memory-efficient", "--out", tmp_path / "run")
    assert answer.status == 0, answer.err
    config = Run.open(tmp_path / "run").config
    assert (config.fused, config.memory_efficient) == (False, True)

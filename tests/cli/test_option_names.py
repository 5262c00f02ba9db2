"""A wrong value is reported under the name of the option that gave it, before any work is done."""

import pytest
from tests.cli.commands import option_names

from convwright.cli.train import train

NO_WRONG_VALUE = {
    *(
        "sync_norm",
        "fused",
        "compile",
        "cuda_graphs",
        "tf32",
        "memory_efficient",
        "fit",
        "find_lr",
        "nesterov",
        "flip",
        "freeze",
        "freeze_norm",
        "trivialaugment",
    ),
    *("tensorboard", "as_json"),
}
"""Options that are given or not."""
TAKES_ANY_TEXT = {"mlflow"}
WRONG = {
    "data": ["nowhere", ""],
    "network": ["resnt50", "resnet50|se:", ""],
    "epochs": ["0", "-1", "nan", "inf", "many"],
    "minutes": ["0", "-1", "nan", "inf"],
    "seed": ["one", "1.5"],
    "split_seed": ["one", "1.5"],
    "out": ["", ".", "/", "file", "file/run", "full", "x" * 300],
    "batch_size": ["0", "-1", "some", "1.5"],
    "resolution": ["0", "-8"],
    "val_share": ["0", "1", "nan"],
    "max_bad": ["-0.1", "1.1", "nan"],
    "cache_gb": ["-1", "nan", "inf"],
    "devices": ["0", "1000000"],
    "workers": ["-1"],
    "checkpoint_every": ["-1", "nan", "inf"],
    "cluster": ["nonsense", ""],
    "cores_per_task": ["0", "2"],
    "precision": ["16"],
    "recipe": ["best"],
    "learning_rate": ["0", "-1", "nan", "inf"],
    "optimizer": ["adam"],
    "momentum": ["-0.1", "1"],
    "weight_decay": ["-1", "inf"],
    "schedule": ["linear"],
    "milestones": ["0", "1"],
    "warm_up": ["-0.1", "1"],
    "label_smoothing": ["1"],
    "class_weights": ["fair"],
    "effective_beta": ["1", "-0.1"],
    "focal": ["-1", "inf"],
    "sampling": ["fair"],
    "teacher": ["nowhere"],
    "distillation": ["0", "1.5", "nan", "0.9"],
    "temperature": ["0", "inf", "2"],
    "accumulate": ["0"],
    "clip_norm": ["0"],
    "ema": ["1"],
    "progressive": ["1.5"],
    "norm_momentum": ["0"],
    "dropout": ["1"],
    "stochastic_depth": ["1"],
    "patience": ["0"],
    "crop": ["-1"],
    "crop_scale": ["-0.1", "1.5", "nan"],
    "rotation": ["-1", "181"],
    "brightness": ["-1", "inf"],
    "contrast": ["-1"],
    "saturation": ["-1"],
    "hue": ["0.6"],
    "randaugment": ["31"],
    "erasing": ["2"],
    "mixup": ["-1", "inf"],
    "cutmix": ["nan"],
    "weights": ["nowhere"],
    "path_column": ["no-list"],
    "label_column": ["no-list"],
    "split_column": ["no-list"],
    "group_column": ["no-list"],
    "weight_column": ["no-list"],
    "label_separator": [",", ""],
    "duplicates": ["both"],
    "resize": ["stretch"],
    "folds": ["1", "0", "2.5"],
    "fold": ["0", "3"],
    "freeze_epochs": ["-1", "inf"],
    "unfrozen_rate": ["0"],
    "layer_decay": ["0", "1.5"],
    "crop_ratio": ["0"],
    "backbone_rate": ["0"],
    "config": ["nowhere.yaml", "full", "file"],
    "resume": ["nowhere", "file", "full"],
}


def test_there_is_a_wrong_value_for_every_option():
    assert set(option_names(train)) == WRONG.keys() | NO_WRONG_VALUE | TAKES_ANY_TEXT


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_value_names_its_option(field, value, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("not empty")
    before = sorted(tmp_path.rglob("*"))
    option = option_names(train)[field]
    data = () if field in ("data", "resume") else ("--data", "digits")
    answer = convwright("train", *data, f"{option}={value}")
    assert (answer.status, answer.out) == (2, "")
    assert option in answer.message
    assert "recipe." not in answer.message
    assert len(answer.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_all_wrong_options_are_reported_together_and_before_the_folder(tmp_path, convwright):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("not empty")
    out = ("--out", tmp_path / "full")
    answer = convwright(
        "train", "--data", "digits", "--epochs", -1, "--seed", "one", "--lr", "0", "--milestone", 2, *out
    )
    assert (answer.status, answer.out) == (2, "")
    starts = [f"convwright: {option}: must be " for option in ("--epochs", "--seed", "--learning-rate", "--milestone")]
    lines = answer.err.splitlines()
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    both = convwright("train", "--data", "digits", "--minutes", 1, "--epochs", 2, "--fold", 1, *out)
    assert [line.split(":")[1] for line in both.err.splitlines()] == [" --minutes", " --fold"]
    named = convwright("train", "--data", "nowhere", "--network", "resnt50", *out)
    data, network, folder = named.err.splitlines()
    assert data.startswith("convwright: --data: ")
    assert network.startswith("convwright: --network: ")
    assert folder.endswith("exists and is not empty; give another --out")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "full", tmp_path / "full" / "a"]


def test_options_are_found_under_their_first_name():
    names = option_names(train)
    assert names["learning_rate"] == "--learning-rate"
    assert names["milestones"] == "--milestone"
    assert names["flip"] == "--flip"
    assert names["as_json"] == "--json"
    assert names["val_share"] == "--val-share"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "progressive=2"), "--set: progressive: "),
        (("--set", "optimizer=adam"), "--set: optimizer: "),
        (("--batch-size", "0"), "--batch-size: "),
        (("--precision", "16"), "--precision: "),
        (("--recipe", "best"), "--recipe: "),
        (("--epochs", "nan"), "--epochs: must be "),
        (("--data", "nowhere"), "--data: "),
        (("--out", "/"), "--out: / "),
    ],
)
def test_a_study_names_its_options(arguments, message, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    answer = convwright("scale", "search", "cifar_resnet8", "--data", "digits", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.message
    assert "recipe." not in answer.message
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_blamed_for_its_own_values(tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    convwright("train", "--data", "digits", "--network", "cifar_resnet8", "--epochs", 0.1, "--out", "run")
    text = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "rate.yaml").write_text(text.replace("learning_rate: 0.025", "learning_rate: -1"))
    answer = convwright("train", "--config", "rate.yaml")
    assert "rate.yaml: recipe.learning_rate: " in answer.message
    (tmp_path / "data.yaml").write_text(text.replace("data: digits", "data: nowhere"))
    answer = convwright("train", "--config", "data.yaml")
    assert "data.yaml: data: " in answer.message
    assert "--data: " in convwright("train", "--config", "data.yaml", "--data", "elsewhere").message

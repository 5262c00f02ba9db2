"""The parts of training that need no training: rates, optimizers, configurations, intervals, run directories."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ConvwrightWarning, RunError, UsageError
from convwright.stats.intervals import wilson
from convwright.training.config import Recipe, TrainConfig, checked
from convwright.training.evaluation import evaluate
from convwright.training.optim import learning_rate, make_optimizer
from convwright.training.plan import plan
from convwright.training.run import DataFacts, Run

CONFIG = {"data": "digits", "network": "cifar_resnet8", "resolution": 8}


@given(st.sampled_from(["one-cycle", "cosine", "constant"]), st.floats(0, 0.9), st.integers(1, 500))
def test_rates_rise_then_fall_and_stay_within_the_highest(schedule, warm_up, steps):
    recipe = Recipe(schedule=schedule, warm_up=warm_up, learning_rate=0.4)
    rates = [learning_rate(recipe, step, steps) for step in range(steps)]
    assert all(0 < rate <= 0.4 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_weight_decay_spares_biases_and_normalisations():
    module = cw.build(cw.network("cifar_seresnet8"))
    decayed, spared = make_optimizer(module, Recipe(weight_decay=0.01)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert {weight.ndim for weight in decayed["params"]} == {2, 4}
    assert {weight.ndim for weight in spared["params"]} == {1}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(module.parameters()))


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop)]
)
def test_optimizers_by_name(name, kind):
    assert isinstance(make_optimizer(torch.nn.Linear(2, 2), Recipe(optimizer=name)), kind)


def test_configuration_round_trips_through_yaml(tmp_path):
    config = checked(CONFIG | {"epochs": 0.5, "recipe": {"flip": True, "clip_norm": 1.5}})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert TrainConfig.from_yaml(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: must be above 0 and 1000000 or less, not 0"),
        ({"epochs": float("inf")}, "epochs: must be above 0 and 1000000 or less, not inf"),
        ({"epochs": "many"}, "epochs: must be a number.*, not 'many'"),
        ({"epoch": 3}, "epoch: no such field; the nearest is epochs"),
        ({"recipe": {"optimizer": "adam"}}, "optimizer: .*'sgd'.*not 'adam'"),
        ({"recipe": {"momentum": 1.5}}, "momentum: .*below 1, not 1.5"),
        ({"val_share": 1.0}, "val_share"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_wrong_configurations_are_told_in_one_line(change, message):
    with pytest.raises(UsageError, match=message) as error:
        checked(CONFIG | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1,", "\x00"])
def test_files_that_are_no_configuration(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"c\.yaml"):
        TrainConfig.from_yaml(tmp_path / "c.yaml")


def test_evaluation_counts_and_restores_the_mode():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2), torch.nn.Dropout(0.9)).train()
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].bias.copy_(torch.tensor([1.0, 0.0]))
    batches = [(torch.zeros(3, 1, 2, 2), torch.tensor([0, 0, 1])), (torch.zeros(1, 1, 2, 2), torch.tensor([0]))]
    result = evaluate(module, batches)
    assert (result.accuracy, result.images) == (0.75, 4)
    assert result.loss == pytest.approx((3 * 0.313262 + 1.313262) / 4, abs=1e-5)
    assert module.training


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (9400, 10000, 0.9352, 0.9445)],
)
def test_wilson_intervals_are_those_of_the_textbook(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.fixture
def run(tmp_path):
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|se:16"))
    return Run.create(tmp_path / "run", config, network, data.classes, DataFacts.of(data))


def test_a_run_opens_as_it_was_created(run):
    assert Run.open(run.path) == run
    assert Run.open(run.path).network.name == run.network.name


def test_a_run_is_not_overwritten(run, tmp_path):
    run.write_weights(torch.nn.Linear(1, 1))
    with pytest.raises(RunError, match=r"already holds a run.*cw.resume"):
        Run.create(run.path, run.config, run.network, run.classes, run.data)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="not empty"):
        Run.create(tmp_path / "other", run.config, run.network, run.classes, run.data)


@pytest.mark.parametrize("name", ["config.yaml", "network.json", "classes.json", "data.json"])
def test_what_a_directory_lacks_to_be_a_run_is_named(run, name):
    (run.path / name).unlink()
    with pytest.raises(RunError, match=f"not a run directory: it has no {name}"):
        Run.open(run.path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", "{"),
        ("classes.json", '["0", "1"]'),
        ("data.json", "[]"),
        ("data.json", '{"mean": 1}'),
        ("network.json", '{"type": "Network"}'),
        ("network.json", "no"),
        ("config.yaml", "data: 3"),
    ],
)
def test_damaged_files_of_a_run_are_told(run, name, text):
    (run.path / name).write_text(text)
    (run.path / "checksums.json").unlink()
    with pytest.warns(ConvwrightWarning), pytest.raises(UsageError, match=name) as error:
        Run.open(run.path)
    assert all(line.startswith(str(run.path)) for line in str(error.value).splitlines())


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_summary_is_told(run, text):
    (run.path / "summary.json").write_text(text)
    with pytest.raises(RunError, match=r"summary\.json: is not listed"):
        _ = run.summary
    (run.path / "checksums.json").unlink()
    with pytest.raises(RunError, match=r"summary\.json: (not readable|must be|network: )"):
        _ = run.summary


def test_damaged_metrics_are_told(run):
    (run.path / "metrics.csv").write_text("epoch,step\n1,two\n")
    with pytest.raises(RunError, match=r"metrics\.csv"):
        _ = run.metrics


def test_no_run_at_all(tmp_path):
    with pytest.raises(RunError, match="no such run"):
        Run.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="a file, not a run"):
        Run.open(tmp_path / "file")


def test_only_the_newest_checkpoints_are_kept(run):
    for step in (1, 20, 300):
        run.save_checkpoint(step, {"step": step})
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == [
        "step-000000020.pt",
        "step-000000300.pt",
    ]
    assert run.load_checkpoint() == {"step": 300}


def test_an_unfinished_run_has_no_summary_and_no_weights(run):
    with pytest.raises(RunError, match=r"has not ended.*cw.resume"):
        _ = run.summary
    with pytest.raises(RunError, match="no weights yet"):
        cw.load(run.path)


def test_json_of_a_run_is_plain(run):
    stored = json.loads((run.path / "classes.json").read_text())
    assert stored == {"classes": list("0123456789"), "schema_version": 2}

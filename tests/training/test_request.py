"""Requests, plans, and training from Python."""

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convwright as cw
from convwright.errors import ArgumentError, SeveralErrors, UsageError
from convwright.options import options_of_model
from convwright.training.config import Recipe, TrainConfig
from convwright.training.run import Run as StoredRun
from convwright.training.run_plan import Plan
from convwright.training.yaml_text import read_value

SMALL = {"data": "digits", "network": "cifar_resnet8", "fused": False, "progress": False}
"""Options of short runs; operators are given, as they would be chosen by a measurement."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of 12 steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return cw.train(
        "digits", network="cifar_resnet8", epochs=0.3, seed=3, mixup=0.2, fused=False, out=out, progress=False
    )


@pytest.mark.parametrize(
    ("fields", "argument", "reason"),
    [
        ({}, "data", "missing"),
        ({"data": "digits", "epochs": -1}, "epochs", "must be above 0 and 1000000 or less, not -1"),
        ({"data": "digits", "learning_rate": float("nan")}, "learning_rate", "not nan"),
        ({"data": "digits", "flip": 1}, "flip", "must be true or false, not 1"),
        ({"data": "digits", "seed": True}, "seed", f"must be a whole number, -{2**63 - 1} to {2**63 - 1}, not True"),
        ({"data": "digits", "recipe": "resnet"}, "recipe", "'efficientnet' or 'fast' or 'fine-tune', not 'resnet'"),
        ({"data": "digits", "batch_size": "many"}, "batch_size", "'auto', not 'many'"),
        ({"data": "digits", "milestones": (0.5, 2)}, "milestones", "must be above 0 and below 1, not 2"),
        ({"data": "digits", "minutes": 1, "epochs": 2}, "minutes", "takes the place of `epochs`"),
        ({"data": "digits", "minutes": 1, "devices": 2}, "minutes", "one device"),
        ({"data": "digits", "network": "resnet18", "freeze": True}, "freeze", "name some with `weights`"),
        ({"data": 3}, "data", "not 3"),
        ({"data": "digits", "network": 3}, "network", "not 3"),
        ({"data": "digits", "rate": 3}, "rate", "no such field"),
        ({"data": "digits", "epohcs": 3}, "epohcs", "no such field; the nearest is epochs"),
    ],
)
def test_a_wrong_request_names_its_field_in_one_line(fields, argument, reason):
    with pytest.raises(ArgumentError) as error:
        cw.TrainRequest(**fields)
    assert error.value.argument == argument
    assert reason in error.value.reason
    assert "\n" not in str(error.value)


def kinds_of(field: str) -> set[type]:
    described = {option.name: option for option in options_of_model(cw.TrainRequest)}
    return {*described[field].kinds}


NUMERIC = [field for field in cw.TrainRequest.model_fields if {int, float} & kinds_of(field)]


@pytest.mark.parametrize("value", ["1", b"1", " 1 ", "1.0"])
@pytest.mark.parametrize("field", NUMERIC)
def test_text_is_no_number(field, value):
    with pytest.raises(ArgumentError) as error:
        cw.TrainRequest(data="digits", **{field: value})
    assert error.value.argument == field
    assert f"not {value!r}" in error.value.reason


@pytest.mark.parametrize("field", sorted(cw.TrainRequest.model_fields.keys() - {*NUMERIC, "resolution"}))
def test_a_number_is_no_text_and_no_truth_value(field):
    with pytest.raises(ArgumentError) as error:
        cw.TrainRequest(**({"data": "digits"} | {field: 1}))
    assert error.value.argument == field


def test_a_whole_number_is_required_where_there_is_one():
    whole = [field for field in NUMERIC if float not in kinds_of(field)]
    for field in whole:
        with pytest.raises(ArgumentError, match=f"^{field}: must be a whole number.*, not 2.5"):
            cw.TrainRequest(data="digits", **{field: 2.5})
    assert "seed" in whole


def test_all_wrong_fields_are_reported_together(tmp_path):
    wrong = {"epochs": "1", "seed": 0.5, "optimizer": "adam", "rate": 1}
    with pytest.raises(SeveralErrors) as error:
        cw.TrainRequest(data="digits", **wrong)
    assert {each.argument for each in error.value.errors} == wrong.keys()
    assert str(error.value).splitlines() == [str(each) for each in error.value.errors]
    path = tmp_path / "request.yaml"
    path.write_text("data: digits\nepochs: '1'\nseed: 0.5\n")
    with pytest.raises(SeveralErrors) as error:
        cw.TrainRequest.from_yaml(path)
    assert [line.split(": ")[:2] for line in str(error.value).splitlines()] == [
        [str(path), "epochs"],
        [str(path), "seed"],
    ]


def test_fields_that_are_none_are_left_open():
    request = cw.TrainRequest(data="digits", epochs=None, optimizer=None, out=None, norm_momentum=None)
    assert request.given() == {"data": "digits", "out": None, "norm_momentum": None}
    assert request.epochs == 10


def test_a_request_survives_yaml(tmp_path):
    request = cw.TrainRequest(
        data="photos", network="resnet18|se:16", recipe="senet", milestones=(0.25, 0.5), batch_size="auto", out="runs/a"
    )
    text = request.to_yaml(tmp_path / "request.yaml")
    assert (tmp_path / "request.yaml").read_text() == text
    again = cw.TrainRequest.from_yaml(tmp_path / "request.yaml")
    assert again.given() == request.given()
    assert cw.TrainRequest.from_yaml(tmp_path / "request.yaml", seed=4).seed == 4


def test_a_wrong_file_is_named_with_its_field(tmp_path):
    path = tmp_path / "request.yaml"
    path.write_text("data: digits\nepochs: none\n")
    with pytest.raises(
        UsageError, match=rf"^{path}: epochs: must be a number, above 0 and 1000000 or less, not 'none'"
    ):
        cw.TrainRequest.from_yaml(path)
    path.write_text("data: digits\nresolution: 8\nnetwork: cifar_resnet8\nrecipe: {mixup: no}\n")
    with pytest.raises(UsageError, match=rf"^{path}: recipe.mixup: "):
        cw.TrainRequest.from_yaml(path)


def test_a_configuration_asks_for_the_same_run_again(run, tmp_path):
    plan = cw.prepare(config=run.path / "config.yaml", out=tmp_path / "again", progress=False)
    assert plan.config == run.config
    assert plan.network == run.network
    changed = cw.prepare(config=run.path / "config.yaml", out=tmp_path / "again", mixup=0.0, progress=False)
    assert changed.config == run.config.model_copy(
        update={"recipe": run.config.recipe.model_copy(update={"mixup": 0.0})}
    )


def test_a_configuration_keeps_the_networks_own_norm_momentum(tmp_path):
    first = cw.prepare(recipe="efficientnet", out=tmp_path / "a", **SMALL)
    assert first.config.recipe.norm_momentum is None
    (tmp_path / "config.yaml").write_text(first.config.to_yaml())
    again = cw.prepare(config=tmp_path / "config.yaml", out=tmp_path / "b", progress=False)
    assert again.config == first.config


def test_a_plan_says_what_is_resolved(tmp_path):
    plan = cw.prepare(epochs=1, out=tmp_path / "run", **SMALL)
    assert plan.config.batch_size == 32
    assert plan.network.resolution == plan.data.resolution == 8
    assert plan.to_dict()["images"] == {"train": 1295, "val": 143, "test": 359}
    assert "1,295 training, 143 validation and 359 test images" in str(plan)
    assert json.loads(plan.to_json()) == plan.to_dict()
    assert not (tmp_path / "run").exists()


def test_a_plan_cannot_name_one_network_and_contain_another(tmp_path):
    plan = cw.prepare(epochs=1, out=tmp_path / "run", **SMALL)
    with pytest.raises(UsageError, match=r"the configuration names 'cifar_resnet8.*', not 'resnet18'"):
        replace(plan, network=cw.network("resnet18"))


def test_a_run_cannot_name_one_network_and_contain_another(run, tmp_path):
    config = run.config.model_copy(update={"network": "cifar_resnet14"})
    StoredRun.create(tmp_path / "run", config, run.network, run.classes, run.data)
    with pytest.raises(
        UsageError, match=r"config.yaml names 'cifar_resnet14', and network.json contains 'cifar_resnet8"
    ):
        cw.open_run(tmp_path / "run")


def test_a_network_of_the_users_own_is_trained_and_found_again(tmp_path):
    own = replace(cw.network("cifar_resnet8"), stages=cw.network("cifar_resnet14").stages)
    made = cw.train("digits", network=own, epochs=0.1, out=tmp_path / "run", progress=False)
    assert made.config.network == "network.json"
    moved = made.path.rename(tmp_path / "moved")
    cw.train("digits", network="cifar_resnet8", epochs=0.1, out=tmp_path / "run", progress=False)
    again = cw.prepare(config=moved / "config.yaml", out=tmp_path / "again", progress=False)
    assert again.network == made.network


def test_all_measurements_share_one_learner(tmp_path, monkeypatch):
    from convwright.training import prepare

    made = []
    monkeypatch.setattr(prepare, "make_learner", lambda *given, **named: made.append(make(*given, **named)) or made[-1])
    make = __import__("convwright.training.preparation", fromlist=["make_learner"]).make_learner
    plan = cw.prepare(batch_size="auto", find_lr=True, minutes=0.02, out=tmp_path / "run", **SMALL)
    assert len(made) == 1
    assert plan.config.recipe.learning_rate == plan.learning_rate_curve.chosen
    assert "lr_finder.csv" in plan.files
    alone = cw.prepare(batch_size=plan.config.batch_size, find_lr=True, epochs=1, out=tmp_path / "run", **SMALL)
    assert alone.learning_rate_curve == plan.learning_rate_curve, "the test starts from the same state"


def test_a_run_shows_itself(run):
    assert run.finished
    assert str(run).startswith("cifar_resnet8|fit:8|channels:1: validation accuracy ")
    facts = run.to_dict()
    assert facts["run"] == str(run.path)
    assert facts["val_accuracy"] == run.summary.val_accuracy
    assert facts["metrics"] == run.metrics
    assert json.loads(run.to_json()) == json.loads(json.dumps(facts))
    assert "<table>" in run._repr_html_()


def test_callbacks_see_every_step_and_validation(tmp_path):
    seen = []

    class Listener:
        def on_start(self, run):
            seen.append(("start", run.path, run.first_step, run.steps))

        def on_step(self, step):
            seen.append(("step", step.number))

        def on_validation(self, row):
            seen.append(("validation", row["step"]))

        def on_end(self, summary):
            seen.append(("end", summary.steps))

    made = cw.train(epochs=0.2, out=tmp_path / "run", callbacks=[Listener()], **SMALL)
    assert seen[0] == ("start", tmp_path / "run", 0, 8)
    assert [number for kind, number, *_ in seen if kind == "step"] == list(range(1, 9))
    assert [step for kind, step, *_ in seen if kind == "validation"] == [row["step"] for row in made.metrics]
    assert seen[-1] == ("end", 8)


@pytest.mark.parametrize("hook", ["on_start", "on_step", "on_validation"])
def test_a_callback_can_end_a_run(tmp_path, hook):
    def stop(self, given):
        raise cw.StopTraining

    stopper = type("Stopper", (), {hook: stop})()
    made = cw.train(epochs=1, out=tmp_path / "run", callbacks=[stopper], **SMALL)
    assert made.finished
    assert made.summary.stopped_early
    assert made.summary.steps == {"on_start": 1, "on_step": 1, "on_validation": 10}[hook]
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_failing_callback_loses_nothing(tmp_path):
    class Fails:
        def on_step(self, step):
            if step.number == 6:
                raise ZeroDivisionError("mine")

    whole = cw.train(epochs=0.25, out=tmp_path / "whole", **SMALL)
    with pytest.raises(ZeroDivisionError, match="mine"):
        cw.train(epochs=0.25, out=tmp_path / "run", callbacks=[Fails()], **SMALL)
    first = []
    listener = type("Listener", (), {"on_start": lambda self, run: first.append(run.first_step)})()
    resumed = cw.resume(tmp_path / "run", callbacks=[listener], progress=False)
    assert first == [6]
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.parametrize("wrong", [3, object(), cw.callbacks.Callback])
def test_what_is_no_callback_is_refused_before_any_work(tmp_path, wrong):
    with pytest.raises(ArgumentError, match=r"callbacks: .* is not a callback"):
        cw.train(epochs=0.1, out=tmp_path / "run", callbacks=[wrong], **SMALL)
    assert not (tmp_path / "run").exists()


def state_of_process():
    cudnn = torch.backends.cudnn
    return {
        "random": torch.get_rng_state().tolist(),
        "cudnn": (cudnn.benchmark, cudnn.deterministic, cudnn.enabled),
        "threads": torch.get_num_threads(),
        "filters": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "environment": dict(os.environ),
        "grad": torch.is_grad_enabled(),
        "folder": Path.cwd(),
    }


def test_training_leaves_the_process_as_it_was(tmp_path):
    import torch.fx.experimental.symbolic_shapes  # torch does so when it needs it, and SymPy adds warning filters

    torch.manual_seed(11)
    torch.backends.cudnn.benchmark = True
    try:
        before = state_of_process()
        plan = cw.prepare(find_lr=True, minutes=0.01, out=tmp_path / "run", memory_efficient=True, **SMALL)
        run = cw.train(plan, progress=False)
        cw.resume(run.path, progress=False)
        assert state_of_process() == before
    finally:
        torch.backends.cudnn.benchmark = False


def test_training_works_in_a_thread_and_twice(run, tmp_path):
    made = []

    def work():
        made.append(cw.train(config=run.path / "config.yaml", out=tmp_path / "thread", progress=False))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    made.append(cw.train(config=run.path / "config.yaml", out=tmp_path / "again", progress=False))
    assert [each.weights.read_bytes() for each in made] == [run.weights.read_bytes()] * 2


def test_the_command_line_trains_what_python_trains(run, tmp_path):
    command = [sys.executable, "-m", "convwright", "train", "--data", "digits", "--network", "cifar_resnet8"]
    command += ["--epochs", "0.3", "--seed", "3", "--mixup", "0.2", "--no-fused", "--json"]
    command += ["--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts, expected = json.loads(done.stdout), run.to_dict()
    assert facts.keys() == expected.keys()
    assert facts["config"] == expected["config"]
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == run.weights.read_bytes()


def test_every_field_is_described_once_and_is_an_option():
    from convwright.cli.train import options

    described = {name: field.description for name, field in cw.TrainRequest.model_fields.items()}
    assert all(described.values())
    assert {each.name for each in options()} == {*described, "config"}
    assert set(Recipe.model_fields) <= set(described)
    more_open = {"data", "network", "recipe", "resolution", "batch_size", "precision"}
    for name in (set(TrainConfig.model_fields) - more_open) & set(described):
        assert TrainConfig.model_fields[name].description == described[name]


def test_a_plan_takes_no_further_options(tmp_path):
    plan = cw.prepare(epochs=1, out=tmp_path / "run", **SMALL)
    assert isinstance(plan, Plan)
    with pytest.raises(ArgumentError, match="epochs: is part of the plan"):
        cw.train(plan, epochs=3)


def test_the_split_of_a_data_object_is_that_of_the_run(tmp_path):
    data = cw.open_data("digits", seed=5, val_share=0.3)
    made = cw.train(data, network="cifar_resnet8", epochs=0.05, seed=1, out=tmp_path / "run", progress=False)
    assert (made.config.seed, made.config.split_seed, made.config.val_share) == (1, 5, 0.3)
    plan = cw.prepare(data, network="cifar_resnet8", seed=1, out=tmp_path / "other", progress=False)
    assert torch.equal(plan.data.val.images, data.val.images)
    again = cw.prepare(config=made.path / "config.yaml", out=tmp_path / "again", progress=False)
    assert again.data.fingerprint == plan.data.fingerprint == made.data.fingerprint


def test_options_of_a_data_object_survive_yaml(tmp_path):
    data = cw.open_data("digits", seed=5, val_share=0.3, resolution=16)
    cw.TrainRequest(data=data, network="cifar_resnet8").to_yaml(tmp_path / "request.yaml")
    plan = cw.prepare(config=tmp_path / "request.yaml", out=tmp_path / "run", progress=False)
    assert (plan.config.val_share, plan.config.resolution, plan.config.split_seed) == (0.3, 16, 5)


def test_preparing_opens_the_images_once(tmp_path, monkeypatch):
    from convwright.data import sources

    opened = []
    original = sources.open_dataset
    monkeypatch.setattr(
        sources, "open_dataset", lambda *given, **named: opened.append(given) or original(*given, **named)
    )
    data = cw.open_data("digits")
    for name in ("a", "b"):
        cw.prepare(data, network="cifar_resnet8", out=tmp_path / name, progress=False)
    assert len(opened) == 1


@pytest.mark.parametrize(("given", "other"), [({"minutes": 0.1}, "epochs"), ({"epochs": 2}, "minutes")])
def test_one_length_of_a_run_replaces_the_other(run, given, other):
    request = cw.TrainRequest.from_yaml(run.path / "config.yaml").changed(epochs=3).changed(**given)
    assert other not in request.given() or request.given()[other] is None
    assert cw.TrainRequest.from_yaml(run.path / "config.yaml", **given).given().keys() >= given.keys()


def test_a_rate_that_is_given_is_not_searched_for(run):
    with pytest.raises(ArgumentError, match="find_lr: finds the learning rate"):
        cw.TrainRequest(data="digits", learning_rate=0.3, find_lr=True)
    assert "learning_rate" not in cw.TrainRequest.from_yaml(run.path / "config.yaml", find_lr=True).given()


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda run: cw.resume(run, workers=-3), "workers"),
        (lambda run: cw.resume(run, checkpoint_every="x"), "checkpoint_every"),
        (lambda run: cw.train("digits", callbacks=None, epochs=0.01, out="never"), "callbacks"),
        (lambda run: cw.train("digits", data="digits"), "data"),
        (lambda run: cw.prepare(cw.TrainRequest(data="digits"), config="nowhere.yaml"), "config"),
        (lambda run: cw.TrainRequest(data="digits", batch_size=0), "batch_size"),
        (
            lambda run: cw.train("digits", devices=2, callbacks=[cw.callbacks.Callback()], epochs=1, out="never"),
            "callbacks",
        ),
    ],
)
def test_wrong_arguments_are_named(run, call, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as error:
        call(run)
    assert error.value.argument == argument
    assert list(tmp_path.iterdir()) == []


def test_a_callbacks_error_is_not_explained_away(tmp_path):
    events = []

    class Fails:
        def on_end(self, summary):
            events.append("end")
            raise RuntimeError("my store is out of memory")

        def on_stop(self):
            events.append("stop")

    with pytest.raises(RuntimeError, match="my store is out of memory"):
        cw.train(epochs=0.05, out=tmp_path / "run", callbacks=[Fails()], **SMALL)
    assert events == ["end"]
    assert cw.open_run(tmp_path / "run").finished


def test_trainings_in_threads_do_not_disturb_each_other(tmp_path):
    options = {"network": "cifar_resnet8", "dropout": 0.3, "epochs": 0.2, "progress": False}
    alone = [cw.train("digits", seed=seed, out=tmp_path / f"alone-{seed}", **options) for seed in (1, 2)]
    torch.backends.cudnn.benchmark = True
    try:
        before = state_of_process()
        threads = [
            threading.Thread(
                target=cw.train, args=("digits",), kwargs={"seed": seed, "out": tmp_path / str(seed)} | options
            )
            for seed in (1, 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert state_of_process() == before
    finally:
        torch.backends.cudnn.benchmark = False
    for seed, run in zip((1, 2), alone, strict=True):
        assert cw.open_run(tmp_path / str(seed)).weights.read_bytes() == run.weights.read_bytes()


def test_a_misspelt_method_of_a_callback_is_refused(tmp_path):
    class Misspelt(cw.callbacks.Callback):
        def on_vaildation(self, row):
            raise AssertionError

    with pytest.raises(ArgumentError, match="callbacks: on_vaildation is never called; the methods are on_start, "):
        cw.train(epochs=0.1, out=tmp_path / "run", callbacks=[Misspelt()], **SMALL)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_the_command_line_are_read_as_in_configurations(value: float) -> None:
    assert read_value(repr(value)) == value
    assert read_value(f"{value:.3e}") == float(f"{value:.3e}")

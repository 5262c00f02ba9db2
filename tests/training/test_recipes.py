"""What a recipe can ask for: averages, pieces, class weights, schedules, early stopping, the papers' own by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ConvwrightWarning, NetworkError, RunError, UsageError
from convwright.training.config import Recipe, TrainConfig
from convwright.training.ema import Average
from convwright.training.interrupt import Interrupted
from convwright.training.loop import Trainer, resume, train
from convwright.training.optim import learning_rate
from convwright.training.plan import plan
from convwright.training.precision import DivergedError
from convwright.training.recipes import RECIPES, recipe_fields
from convwright.training.run import DataFacts, Run
from convwright.training.run_plan import described
from convwright.training.step import Learner

from .test_loop import NOISY, StopAfter, assert_same, last_state

EVERYTHING = {
    **{"mixup": 0.3, "cutmix": 0.5, "randaugment": 5, "erasing": 0.2, "ema": 0.9, "accumulate": 3},
    **{"label_smoothing": 0.1, "clip_norm": 1.0, "dropout": 0.3, "stochastic_depth": 0.3, "class_weights": "balanced"},
    **{"sampling": "balanced", "focal": 1.5, "crop_scale": 0.6, "rotation": 10, "trivialaugment": True},
    **{"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
}


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


def test_with_everything_on_a_stopped_run_ends_in_the_same_weights(digits, tmp_path):
    config, network = plan(digits, cw.network(NOISY), epochs=0.5, recipe=EVERYTHING)
    train(config, network, digits, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "stopped", [StopAfter(7)])
    resume(Run.open(tmp_path / "stopped"), digits)
    assert_same(last_state(tmp_path / "stopped"), last_state(tmp_path / "whole"))
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert_same(one, other)


# Averages


def test_an_average_is_the_textbook_s_with_a_lower_decay_at_first():
    module = torch.nn.Linear(1, 1, bias=False)
    values = [module.weight.item()]
    average = Average(module, decay=0.5)
    expected = values[0]
    for step in range(20):
        with torch.no_grad():
            module.weight += 1.0
        average.update(module, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.item()
    assert float(average.module.weight) == pytest.approx(expected, rel=1e-5)
    assert not average.module.weight.requires_grad


def test_the_average_is_what_is_validated_and_kept(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=2, recipe={"ema": 0.9})
    summary = train(config, network, digits, tmp_path / "run")
    state = Run.open(tmp_path / "run").load_checkpoint()
    kept = load_file(tmp_path / "run" / "model.safetensors")
    weights = [name for name in kept if name.endswith("conv1.weight")]
    assert summary.best_step == summary.steps  # so that what is kept is the last state's
    for name in weights:
        assert torch.equal(kept[name], state["average"][name])
        assert not torch.equal(kept[name], state["model"][name])


# Pieces, and what an image counts


def learner(recipe, classes=3, weights=None, name="cifar_resnet8"):
    config = TrainConfig(data="digits", network=name, resolution=8, recipe=Recipe(**recipe))
    return Learner(config, cw.at(cw.fit_resolution(cw.network(name), 8), channels=1, classes=classes), weights)


def without_norms(network):
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
            module.__class__ = ByStatistics


class ByStatistics(torch.nn.BatchNorm2d):
    """Normalises by running statistics in training too, so that nothing depends on the batch."""

    def forward(self, x):
        return torch.nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_batch_in_pieces_gives_the_gradient_of_the_whole(mixed):
    torch.manual_seed(0)
    images, labels = torch.randn(10, 1, 8, 8), torch.arange(10) % 3
    labels = torch.nn.functional.one_hot(labels, 3).float() * 0.8 + 0.2 / 3 if mixed else labels
    states, losses = [], []
    for pieces in (1, 3, 10):
        one = learner({"accumulate": pieces, "label_smoothing": 0.1}, weights=torch.tensor([2.0, 0.5, 0.5]))
        without_norms(one.network)
        losses.append(one.train_step(images, labels, 0, 10))
        states.append(one.network.state_dict())
    assert losses[1:] == [pytest.approx(losses[0])] * 2
    for name, tensor in states[0].items():
        for state in states[1:]:
            torch.testing.assert_close(state[name], tensor, rtol=1e-4, atol=1e-6)


def test_class_weights_weigh_the_loss():
    images, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 0, 0, 1])
    one = learner({}, classes=2, weights=torch.tensor([0.5, 2.5]))
    with torch.no_grad():
        logits = one.network.train()(images)
    parts = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = (parts * torch.tensor([0.5, 0.5, 0.5, 2.5])).mean()
    assert one.train_step(images, labels, 0, 10)[0] == pytest.approx(float(expected), rel=1e-5)


# Rates


@pytest.mark.parametrize(
    ("fields", "share", "factor"),
    [
        ({"schedule": "step"}, 0.49, 1),
        ({"schedule": "step"}, 0.5, 0.1),
        ({"schedule": "step"}, 0.75, 0.01),
        ({"schedule": "step", "milestones": (0.3, 0.6, 0.9)}, 0.95, 0.001),
        ({"schedule": "exponential"}, 0.0, 1),
        ({"schedule": "exponential"}, 2.4 / 350, 0.97),
        ({"schedule": "cosine"}, 0.5, 0.5),
        ({"schedule": "one-cycle"}, 0.25, 0.75),
    ],
)
def test_schedules(fields, share, factor):
    recipe, steps = Recipe(warm_up=0, learning_rate=0.4, **fields), 350_000
    assert learning_rate(recipe, round(share * steps), steps) == pytest.approx(0.4 * factor, rel=1e-3)


# By name


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_by_name_are_valid_and_train(name, digits, tmp_path):
    for network in ("cifar_seresnet8", "densenet_bc_l16_k12"):
        config, network = plan(digits, cw.network(network), epochs=0.1, name=name)
        assert train(config, network, digits, tmp_path / f"{name}-{network.name[:4]}").steps == 4


@pytest.mark.parametrize(
    ("name", "batch", "rate"), [("densenet", 64, 0.1), ("senet", 1024, 0.6), ("efficientnet", 4096, 0.256)]
)
def test_rates_are_the_papers_at_the_papers_batch_and_in_proportion(name, batch, rate):
    assert recipe_fields(name, batch)["learning_rate"] == pytest.approx(rate)
    assert recipe_fields(name, batch // 8)["learning_rate"] == pytest.approx(rate / 8)


def test_single_fields_win_over_a_named_recipe(digits):
    config, network = plan(digits, cw.network("cifar_seresnet8"), name="efficientnet", recipe={"ema": 0.5})
    assert (config.recipe.ema, config.recipe.optimizer) == (0.5, "rmsprop")
    assert network.stochastic_depth == 0.2
    assert config.network == network.name == "cifar_seresnet8|fit:8|channels:1|stochastic_depth:0.2"


def test_an_unknown_recipe_is_told(digits):
    with pytest.raises(
        UsageError, match="no recipe is named 'best'; there are densenet, senet, efficientnet, fast, fine-tune"
    ):
        plan(digits, cw.network("cifar_resnet8"), name="best")


def test_stochastic_depth_needs_shortcuts(digits):
    with pytest.raises(NetworkError, match="no block has a residual sum"):
        plan(digits, cw.network("densenet_bc_l16_k12"), recipe={"stochastic_depth": 0.2})


# The end of a run


def test_a_run_without_patience_left_stops_and_says_so(digits, tmp_path):
    recipe = {"patience": 2, "learning_rate": 1e-12, "momentum": 0.0, "norm_momentum": 1e-9}
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=8, recipe=recipe)
    summary = train(config, network, digits, tmp_path / "run")
    assert summary.stopped_early
    rows = Run.open(tmp_path / "run").metrics
    best = [row["step"] for row in rows].index(summary.best_step)
    assert len(rows) == best + 3 < 8


def test_patience_does_not_end_the_frozen_start(digits, tmp_path):
    """With rates of zero no validation is better than the first, so that the run ends as early as it may."""
    recipe = {"patience": 1, "freeze_epochs": 0.5, "learning_rate": 1e-12, "momentum": 0.0, "norm_momentum": 1e-9}
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=1, recipe=recipe)
    run = Run.create(tmp_path / "run", config, network, digits.classes, DataFacts.of(digits))
    trainer = Trainer(run, digits)
    frozen = trainer.frozen_validations
    assert 1 < frozen < len(trainer.validations) - 1
    summary = trainer.fit()
    rows = Run.open(tmp_path / "run").metrics
    best = [row["step"] for row in rows].index(summary.best_step)
    assert len(rows) == max(best + 1, frozen) + 1
    assert rows[-1]["step"] > trainer.frozen_steps


def test_weights_of_images_count_with_a_frozen_backbone(digits, tmp_path):
    """Images of weight 0 have no part in the gradient: their labels do not matter."""
    size = 64
    few = digits.train.choose(torch.arange(size))
    ignored = torch.arange(size) % 2 == 1
    classes = len(digits.classes)
    heads = []
    for weights in (None, (~ignored).float()):
        for labels in (few.labels, torch.where(ignored, (few.labels + 1) % classes, few.labels)):
            data = replace(digits, train=replace(few, labels=labels, weights=weights))
            config, network = plan(data, cw.network("cifar_resnet8"), epochs=2, batch_size=8, recipe={"freeze": True})
            path = tmp_path / f"run{len(heads)}"
            train(config, network, data, path)
            heads.append(Run.open(path).metrics[-1]["val_loss"])
    assert heads[0] != heads[1]
    assert heads[2] == heads[3] != heads[0]


def test_a_poisoned_batch_is_named_and_nothing_bad_is_kept(digits, tmp_path, monkeypatch):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    run = Run.create(tmp_path / "run", config, network, digits.classes, DataFacts.of(digits))
    trainer = Trainer(run, digits)
    good = trainer.batches.at

    def poisoned(step):
        images, labels = good(step)
        return (images * float("nan") if step == 13 else images), labels

    monkeypatch.setattr(trainer.batches, "at", poisoned)
    rows = ", ".join(map(str, trainer.batches.rows_at(13).tolist()[:5]))
    with pytest.raises(
        DivergedError,
        match=rf"the loss became nan at step 13, batch 14 of epoch 1 \(training images {rows} and 27 more\); "
        r"step-000000010\.pt is the last good checkpoint; .*try a lower learning rate than 0\.025",
    ):
        trainer.fit()
    state = run.load_checkpoint()
    assert state["progress"]["step"] == 10
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    resume(run, digits)  # the poison is gone


def test_a_rate_far_too_high_leaves_no_bad_checkpoint(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=1, recipe={"learning_rate": 1e30})
    with pytest.raises(DivergedError, match=r"became (nan|inf) at step \d+"):
        train(config, network, digits, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(tensor.isfinite().all() for tensor in state["model"].values())


# Resumed as it began


@pytest.fixture
def stopped(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(3)])
    return tmp_path / "run"


def test_a_changed_configuration_is_not_resumed(stopped, digits):
    path = stopped / "config.yaml"
    path.write_text(path.read_text().replace("momentum: 0.9", "momentum: 0.8"))
    with pytest.raises(RunError, match=r"config\.yaml: its checksum is wrong"):
        Run.open(stopped)
    (stopped / "checksums.json").unlink()
    with (
        pytest.warns(ConvwrightWarning, match=r"has no checksums\.json"),
        pytest.raises(RunError, match=r"config\.yaml: recipe\.momentum is 0\.8, and the run began with 0\.9"),
    ):
        resume(Run.open(stopped), digits)


def test_a_changed_network_is_not_resumed(stopped, digits):
    path = stopped / "network.json"
    path.write_text(path.read_text().replace('"stride": 2', '"stride": 1', 1))
    with pytest.raises(RunError, match=r"network\.json: its checksum is wrong"):
        Run.open(stopped)
    (stopped / "checksums.json").unlink()
    with (
        pytest.warns(ConvwrightWarning, match=r"has no checksums\.json"),
        pytest.raises(RunError, match=r"network\.json: not the network that the run began with"),
    ):
        resume(Run.open(stopped), digits)


def test_in_what_data_has_changed_is_told(stopped):
    with pytest.raises(RunError, match="it has as many images, but other pixels, labels or another split"):
        resume(Run.open(stopped), open_dataset("digits", seed=1))
    with pytest.raises(RunError, match=r"it has .* train, .*, and the run was trained on .* train"):
        resume(Run.open(stopped), open_dataset("digits", val_share=0.3))


GIVEN = {"weights": "a file"}


@pytest.mark.parametrize(
    ("options", "recipe", "rate"),
    [
        ({}, {}, 0.1),
        ({}, {"optimizer": "adamw"}, 0.004),
        ({}, {"optimizer": "rmsprop"}, 0.002),
        ({}, {"optimizer": "muon"}, 0.05),
        (GIVEN, {}, 0.008),
        (GIVEN, {"optimizer": "sgd"}, 0.1),
        (GIVEN, {"freeze_epochs": 0.0}, 0.0004),
        (GIVEN, {"freeze_epochs": 0.0, "optimizer": "sgd"}, 0.02),
        (GIVEN, {"freeze_epochs": 0.0, "optimizer": "muon"}, 0.005),
        (GIVEN, {"freeze": True}, 0.1),
    ],
)
def test_the_default_rate_is_the_documented_one(digits, options, recipe, rate):
    """The description of the field and the guide name the rates. Given weights are frozen at first."""
    config, _ = plan(digits, cw.network("cifar_resnet8"), recipe=recipe, **options)
    assert config.recipe.learning_rate == pytest.approx(rate * config.batch_size / 128)
    assert bool(config.recipe.freeze_epochs) == (options == GIVEN and not recipe.keys() & {"freeze", "freeze_epochs"})
    guide = Path(__file__).parents[2] / "docs" / "training.md"
    for text in (cw.TrainRequest.model_fields["learning_rate"].description, guide.read_text(encoding="utf-8")):
        assert f"{rate:g}" in text


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (
            {"freeze_epochs": 1.0},
            "the classifier alone for 1 epoch on features that are computed once, then all weights",
        ),
        ({"freeze_epochs": 20.0}, "the classifier alone for 20 epochs on features that are computed once, then all"),
        ({"freeze": True}, "the classifier alone for 1 epoch, batch size"),
    ],
)
def test_both_phases_of_fine_tuning_are_announced(digits, recipe, expected):
    config, network = plan(digits, cw.network("cifar_resnet8"), recipe=recipe, epochs=1, weights="a file")
    (line,) = [line for line in described(digits, network, config).splitlines() if line.startswith("training: ")]
    assert line.startswith(f"training: {expected}")
    assert "1 epoch, batch size" in line


def test_one_epoch_is_not_several(tmp_path):
    planned = cw.prepare("digits", network="cifar_resnet8", epochs=1, out=tmp_path / "run", progress=False)
    assert "training: 1 epoch, " in str(planned)

"""Training on real images (scikit-learn's digits): it learns, and is a function of configuration and step."""

import math
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import convwright as cw
from convwright.data import Batches, open_dataset
from convwright.errors import ConvwrightError, ConvwrightWarning, RunError, UsageError
from convwright.reproduction import PAPERS
from convwright.training import run as run_files
from convwright.training.callbacks import Callback, Callbacks
from convwright.training.epochs import LEAST_ON_FEATURES, MOST_ROUNDS, epochs_in_minutes, typical_seconds
from convwright.training.evaluation import LARGEST_BATCH, batch_for
from convwright.training.field_errors import FieldError
from convwright.training.frozen import compute_features
from convwright.training.interrupt import Interrupted
from convwright.training.loop import Trainer, resume, train
from convwright.training.plan import FROM_SCRATCH, default_batch_size, plan
from convwright.training.precision import DivergedError
from convwright.training.recipes import RECIPES
from convwright.training.run import DataFacts, Run, ensure_free
from convwright.training.validations import validation_period, validation_steps

NOISY = "efficientnet_b0|scale:d=0.3,w=0.25"
"""Dropout, stochastic depth and squeeze-and-excitation: everything that is random in training."""


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


class StopAfter(Callback):
    """Stops a run as Ctrl-C does, after some steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_step(self, step):
        if step.number == self.steps:
            import signal

            signal.raise_signal(signal.SIGINT)


class Rows(Callback):
    def __init__(self):
        self.rows = []

    def on_validation(self, row):
        self.rows.append(row)


@pytest.mark.parametrize(
    ("paper", "name", "epochs"),
    [("DenseNet", "densenet_bc_l16_k12", 3), ("SENet", "cifar_seresnet8", 3), ("EfficientNet", NOISY, 2)],
)
def test_a_network_of_each_paper_learns_digits(paper, name, epochs, digits, tmp_path):
    config, network = plan(digits, cw.network(name), epochs=epochs)
    summary = train(config, network, digits, tmp_path / "run")
    assert summary.val_accuracy > 0.8


def test_every_paper_has_a_network_that_learns():
    (mark,) = test_a_network_of_each_paper_learns_digits.pytestmark
    assert {paper.lower() for paper, *_ in mark.args[1]} == set(PAPERS)


def test_stopped_and_resumed_at_any_step_ends_in_the_same_weights(digits, tmp_path):
    config, network = plan(digits, cw.network(NOISY), epochs=0.5)
    train(config, network, digits, tmp_path / "whole")
    expected = last_state(tmp_path / "whole")
    for step in (1, 7, 12):
        path = tmp_path / f"stopped-{step}"
        with pytest.raises(Interrupted, match=f"step {step} of 20.*cw.resume"):
            train(config, network, digits, path, [StopAfter(step)])
        assert not (path / "summary.json").exists()
        resume(Run.open(path), digits)
        assert_same(last_state(path), expected)
        assert (path / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "muon"])
@pytest.mark.parametrize("recipe", [None, "fast", "efficientnet"])
def test_the_default_learning_rate_is_that_of_the_optimizer(optimizer, recipe):
    chosen = {"network": "cifar_resnet8", "epochs": 1, "batch_size": 32, "optimizer": optimizer, "recipe": recipe}
    rate = cw.prepare("digits", **chosen).config.recipe.learning_rate
    own = {None: "", "fast": "muon", "efficientnet": "rmsprop"}[recipe]
    if optimizer == own:
        assert rate == pytest.approx(RECIPES[recipe].fields["learning_rate"] * 32 / RECIPES[recipe].batch)
    else:
        assert rate == pytest.approx(FROM_SCRATCH[optimizer] * 32 / 128)


@pytest.mark.parametrize(("optimizer", "largest"), [("muon", 20.0), ("sgd", 40.0), ("adamw", 1000.0)])
def test_a_weight_decay_that_takes_whole_weights_is_refused(optimizer, largest):
    options = {"network": "cifar_resnet8", "epochs": 1, "optimizer": optimizer, "batch_size": 32}
    cw.prepare("digits", **options, weight_decay=0.99 * largest)
    with pytest.raises(FieldError, match="weight_decay: must be below"):
        cw.prepare("digits", **options, weight_decay=1.01 * largest)


@pytest.mark.parametrize("side", [1, 2, 3, 5])
def test_images_of_few_pixels_grow_too(side, tmp_path):
    run = cw.train("digits", network="cifar_resnet8", resolution=side, recipe="fast", epochs=0.2, out=tmp_path / "run")
    assert run.finished


@pytest.mark.parametrize(
    ("recipe", "optimizer", "decay"),
    [
        (None, "muon", 0.005),
        ("fast", None, 0.005),
        ("fast", "sgd", 5e-4),
        ("fast", "adamw", 5e-4),
        ("densenet", "muon", 0.005),
        ("densenet", "rmsprop", 1e-4),
        ("efficientnet", "adamw", 5e-4),
    ],
)
def test_the_default_weight_decay_suits_the_optimizer(recipe, optimizer, decay):
    options = {"network": "cifar_resnet8", "epochs": 1, "optimizer": optimizer, "recipe": recipe}
    assert cw.prepare("digits", **options).config.recipe.weight_decay == decay


@pytest.mark.parametrize(
    "optimizer", ["adamw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "rmsprop"))]
)
def test_killed_at_any_moment_and_resumed_ends_in_the_same_state(optimizer, tmp_path):
    train_digits = [sys.executable, "-m", "convwright", "train", "--data", "digits", "--network", "cifar_seresnet8"]
    options = ["--epochs", "2", "--optimizer", optimizer, "--lr", "0.002"]
    subprocess.run([*train_digits, *options, "--out", tmp_path / "whole"], check=True, capture_output=True)
    process = subprocess.Popen([*train_digits, *options, "--out", tmp_path / "killed"], stderr=subprocess.DEVNULL)
    while not (tmp_path / "killed" / "metrics.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "summary.json").exists()
    subprocess.run([*train_digits[:4], "--resume", tmp_path / "killed"], check=True, capture_output=True)
    assert_same(last_state(tmp_path / "killed"), last_state(tmp_path / "whole"))


def last_state(path):
    """Weights, optimizer and progress at the end of a run, less what the clock says."""
    state = Run.open(path).load_checkpoint()
    progress = state["progress"]
    clock = ("seconds", "seconds_since", "images_per_second")
    for row in (progress, *progress["rows"]):
        for name in clock:
            row.pop(name, None)
    return state


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(digits, tmp_path):
    config, network = plan(digits, cw.network(NOISY), epochs=0.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(9)])
    newest = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=newest.name):
        resume(Run.open(tmp_path / "run"), digits)
    train(config, network, digits, tmp_path / "whole")
    weights, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_what_is_damaged_makes_room_and_is_told(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(15)])
    run = Run.open(tmp_path / "run")
    before, newest = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(ConvwrightWarning, match=rf"{newest.name} is damaged \(.+\); trying {before.name}$"):
        state = run.load_checkpoint()
    run.save_checkpoint(state["progress"]["step"] + 1, state)  # one that can be read is worth more
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))] == [
        before.name,
        f"step-{state['progress']['step'] + 1:09d}.pt",
    ]
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.warns(ConvwrightWarning, match=r"\(its checksum in checksums\.json is wrong\)") as told:
        assert run.load_checkpoint() is None
    assert [str(warning.message).rpartition("; ")[2] for warning in told] == [
        f"trying {before.name}",
        "no other checkpoint is left",
    ]


def test_a_run_is_trained_by_one_process_at_a_time(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.2)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(3)])
    run = Run.open(tmp_path / "run")
    partial = tmp_path / "run" / "checkpoints" / ".step-000000004.pt.partial"
    with run.held():
        partial.write_bytes(b"the other's")
        done = subprocess.run(
            [sys.executable, "-m", "convwright", "train", "--resume", tmp_path / "run"], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (
            2,
            f"convwright: {tmp_path / 'run'}: another process is training this run\n",
        )
        assert partial.exists()
    assert resume(run, digits).steps == 8


def test_evaluation_takes_no_more_memory_than_training():
    assert batch_for(cw.network("cifar_resnet8")) == LARGEST_BATCH
    large = cw.network("efficientnet_b7")
    assert 1 <= batch_for(large) < 16
    assert batch_for(large) * cw.cost(large).peak_bytes() <= 2**29
    assert batch_for(cw.network("vgg16|resolution:2048")) == 1


def test_a_batch_holds_no_more_images_than_there_are(digits):
    every = len(digits.train)
    with pytest.raises(UsageError, match=rf"batch_size: must be at most the number of .*, {every:,}, not 5,000$"):
        plan(digits, cw.network("cifar_resnet8"), batch_size=5000)
    assert plan(digits, cw.network("cifar_resnet8"), batch_size=every)[0].batch_size == every


def test_the_seed_decides(digits, tmp_path):
    outcomes = []
    for run, seed in enumerate((0, 0, 1)):
        data = open_dataset("digits", seed=0)
        config, network = plan(data, cw.network("cifar_resnet8"), epochs=0.2, seed=seed)
        rows = Rows()
        train(config, network, data, tmp_path / str(run), [rows])
        outcomes.append([row["train_loss"] for row in rows.rows])
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_short_runs_are_validated_within_their_epochs(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.75)
    train(config, network, digits, tmp_path / "run")
    rows = Run.open(tmp_path / "run").metrics
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[-1]["epoch"] == 0.75


@pytest.mark.parametrize(
    ("epochs", "validations"), [(0.05, 1), (0.25, 1), (0.5, 2), (1, 4), (2, 5), (5, 5), (7.5, 8), (20, 20)]
)
def test_validation_stays_cheap_beside_training(digits, epochs, validations):
    batches = Batches(digits.train, digits, 32)
    steps = round(epochs * batches.steps_per_epoch)
    period = validation_period(steps, batches, val_images=143)
    assert math.ceil(steps / period) == validations


@pytest.mark.parametrize(("epochs", "validations"), [(10, 10), (50, 50), (51, 50), (200, 50)])
def test_a_classifier_on_features_is_validated_fifty_times_at_most(digits, epochs, validations):
    batches = Batches(digits.train, digits, 32)
    steps = epochs * batches.steps_per_epoch
    count, ends = validation_steps(steps, 0, batches, 143, on_features=True)
    assert (count, len(ends), ends[-1]) == (0, validations, steps)
    assert len(validation_steps(steps, 0, batches, 143)[1]) == epochs


def test_changed_data_is_not_resumed(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(2)])
    with pytest.raises(RunError, match="not those that the run was trained on"):
        resume(Run.open(tmp_path / "run"), open_dataset("digits", seed=1))


def test_a_loss_that_diverges_stops_the_run_and_says_what_to_do(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=1, recipe={"learning_rate": 1e30})
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) at step \d+, .*; try a lower learning rate"):
        train(config, network, digits, tmp_path / "run")


def test_a_run_that_failed_without_usable_weights_is_replaced(digits, tmp_path):
    out = tmp_path / "run"
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=1, recipe={"learning_rate": 1e30})
    with pytest.raises(DivergedError):
        train(config, network, digits, out)
    with Run.open(out).held(), pytest.raises(RunError, match="already holds a run"):
        ensure_free(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="already holds a run"):
        ensure_free(out)
    (out / "notes.txt").unlink()
    small = {"network": "cifar_resnet8", "epochs": 0.1, "fused": False, "progress": False}
    prepared = cw.prepare("digits", out=out, **small)
    assert any("is replaced" in note for note in prepared.notes)
    assert cw.train(prepared, progress=False).finished
    with pytest.raises(RunError, match="already holds a run"):
        cw.train("digits", out=out, **small)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_run_that_can_be_resumed_is_not_replaced(digits, tmp_path, steps):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(steps)])
    with pytest.raises(RunError, match="already holds a run"):
        train(config, network, digits, tmp_path / "run")


def test_a_validation_with_nan_outputs_ends_the_run_as_diverged(digits, tmp_path):
    """Training batches do not read running statistics, so only the validation meets what is wrong with them."""
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.2)
    run = Run.create(tmp_path / "run", config, network, digits.classes, DataFacts.of(digits))
    trainer = Trainer(run, digits)
    norm = next(part for part in trainer.learner.network.modules() if isinstance(part, torch.nn.BatchNorm2d))
    norm.running_var[0] = float("nan")
    with pytest.raises(DivergedError, match=r"validation after step \d+: .* NaN or infinite.*; try a lower"):
        trainer.fit()
    assert not run.weights.exists()
    assert run.metrics == []


def test_a_run_recovers_from_a_validation_with_nan_outputs(digits, tmp_path):
    """Early in a long run, running statistics can lag so far behind that evaluation overflows."""
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.75)
    run = Run.create(tmp_path / "run", config, network, digits.classes, DataFacts.of(digits))

    class Repairer(Callback):
        def on_validation(self, row):
            norm.running_var[0] = 1.0

    trainer = Trainer(run, digits, Callbacks([Repairer()]))
    norm = next(part for part in trainer.learner.network.modules() if isinstance(part, torch.nn.BatchNorm2d))
    norm.running_var[0] = float("nan")
    with pytest.warns(ConvwrightWarning, match=r"validation after step 10: .*; this validation is not counted"):
        summary = trainer.fit()
    first, *others = run.metrics
    assert math.isnan(first["val_accuracy"])
    assert math.isnan(first["val_loss"])
    assert summary.val_accuracy == max(row["val_accuracy"] for row in others) > 0


def test_the_best_weights_are_kept_not_the_last(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    run = Run.create(tmp_path / "run", config, network, digits.classes, DataFacts.of(digits))
    trainer = Trainer(run, digits)
    rows = [{"val_accuracy": a, "val_loss": b} for a, b in ((0.5, 1.0), (0.7, 1.0), (0.7, 0.9), (0.7, 1.1), (0.6, 0.1))]
    assert [trainer.progress.add_validation(row) for row in rows] == [True, True, True, False, False]
    assert trainer.progress.best == 2


def test_minutes_become_epochs_that_grow_with_them(digits):
    config, network = plan(digits, cw.network("cifar_resnet8"))
    short, long = (epochs_in_minutes(minutes, config, network, digits) for minutes in (0.05, 0.5))
    assert 0 < short < long <= 200
    assert epochs_in_minutes(0.5, config, network, digits, most=0.25) == 0.25


def compute(seconds):
    """Keep the processor at work."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("stalled", [{0}, {2}, {1, 2}])
def test_a_stall_does_not_count(stalled):
    calls = []

    def work():
        compute(0.02)
        time.sleep(1 if len(calls) in stalled else 0)
        calls.append(None)

    assert 0.015 < typical_seconds(work) < 0.5
    assert len(calls) <= MOST_ROUNDS


def test_waiting_in_every_round_counts():
    assert typical_seconds(lambda: time.sleep(0.05)) >= 0.05


def test_a_stall_while_features_are_timed_does_not_spoil_the_plan(digits, monkeypatch):
    config, network = plan(digits, cw.network("cifar_resnet8"), recipe={"freeze": True}, weights="a file")
    calls = []

    def stalling(*arguments):
        calls.append(None)
        time.sleep(3 if len(calls) == 3 else 0)
        return compute_features(*arguments)

    monkeypatch.setattr("convwright.training.epochs.compute_features", stalling)
    # The stall itself lasts 3 s; scaled up to all images it would be 40 s, most of the time.
    assert epochs_in_minutes(1, config, network, digits) > 1
    assert len(calls) > 3


def test_a_classifier_is_trained_though_its_features_take_all_the_time(digits):
    config, network = plan(digits, cw.network("cifar_resnet8"), recipe={"freeze": True}, weights="a file")
    assert epochs_in_minutes(1e-4, config, network, digits) == LEAST_ON_FEATURES
    assert epochs_in_minutes(1e-4, config, network, digits, most=3) == 3


def test_measuring_the_speed_cannot_diverge(digits):
    config, network = plan(digits, cw.network("cifar_resnet8"), recipe={"learning_rate": 1e30})
    assert epochs_in_minutes(0.05, config, network, digits) > 0


@pytest.mark.parametrize(("images", "size"), [(54_000, 128), (5_120, 128), (5_000, 64), (1_293, 32), (20, 16)])
def test_small_data_gets_small_batches(images, size):
    assert default_batch_size(images) == size


def test_fit_drops_strides_only_where_it_is_wanted(digits):
    _, fitted = plan(digits, cw.network("cifar_resnet8"))
    _, plain = plan(digits, cw.network("cifar_resnet8"), fit=False)
    assert fitted.stages[1].block.stride == 1
    assert plain.stages[1].block.stride == 2
    assert (plain.resolution, plain.channels, plain.classes) == (8, 1, 10)


@pytest.mark.parametrize("full", [r"checkpoints/step-\d+\.pt", r"model\.safetensors"])
def test_a_failed_run_leaves_no_partial_files(digits, tmp_path, monkeypatch, full):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.2)
    written = Path.write_bytes

    def write_bytes(path, content):
        if re.search(full, str(path).replace("/.", "/")):
            written(path, content[:1000])
            raise OSError(28, "No space left on device")
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(ConvwrightError, match=rf"{full} could not be written: No space left on device"):
        train(config, network, digits, tmp_path / "run")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_kill_while_a_run_is_created_leaves_nothing_in_the_way(digits, tmp_path, monkeypatch):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.1)
    written = run_files.write_bytes

    def killed(path, content):
        if path.name == "data.json":
            raise KeyboardInterrupt
        written(path, content)

    monkeypatch.setattr(run_files, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, network, digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    train(config, network, digits, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_batches_too_small_to_normalise_are_told(digits, tmp_path):
    config, network = plan(digits, cw.network("resnet18"), fit=False, epochs=0.1, batch_size=1)
    with pytest.raises(UsageError, match="batches of 1 are too small"):
        train(config, network, digits, tmp_path / "run")

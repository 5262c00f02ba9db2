"""What a run can find out beforehand: a learning rate, and a batch that fits into memory; and what it tells if not."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ConvwrightError
from convwright.training.allocator import freed_memory, kept_memory
from convwright.training.failures import explain_failure
from convwright.training.loop import train
from convwright.training.lr_finder import find_learning_rate
from convwright.training.memory_fit import fitting_batch, step_bytes
from convwright.training.plan import plan
from convwright.training.preparation import make_learner

TRAIN = [sys.executable, "-m", "convwright", "train"]


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "muon"])
def test_a_found_rate_trains_better_than_a_hundredth_of_it(optimizer, digits, tmp_path):
    recipe = {"optimizer": optimizer}
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.75, recipe=recipe)
    finding = find_learning_rate(config, network, digits)
    assert finding == find_learning_rate(config, network, digits)
    assert min(finding.rates) <= finding.chosen <= max(finding.rates)
    accuracies = []
    for index, rate in enumerate((finding.chosen, finding.chosen / 100)):
        config, network = plan(
            digits, cw.network("cifar_resnet8"), epochs=0.75, recipe=recipe | {"learning_rate": rate}
        )
        accuracies.append(train(config, network, digits, tmp_path / str(index)).val_accuracy)
    assert accuracies[0] > accuracies[1] + 0.1


def test_a_loss_that_never_falls_is_told(digits):
    config, network = plan(digits, cw.network("cifar_resnet8"))
    beyond_numbers = replace(digits, std=(1e-38,))
    with pytest.raises(ConvwrightError, match="no learning rate from 1e-05 to 10 lets the loss fall"):
        find_learning_rate(config, network, beyond_numbers)


def test_a_frozen_backbone_is_tested_on_images_of_all_classes(digits, monkeypatch):
    """Folders are read class by class, so the first images are those of the first classes."""
    order = digits.train.labels.argsort(stable=True)
    data = replace(digits, train=digits.train.choose(order))
    config, network = plan(data, cw.network("cifar_resnet8"), batch_size=4, recipe={"freeze": True})

    class Seen(Exception):  # noqa: N818 - ends the test where its images are known
        pass

    def features_of(backbone, data):
        raise Seen(data.train.labels)

    def tested(seed):
        with pytest.raises(Seen) as seen:
            find_learning_rate(config.model_copy(update={"seed": seed}), network, data)
        return seen.value.args[0]

    monkeypatch.setattr("convwright.training.lr_finder.features_of", features_of)
    labels = tested(0)
    assert len(labels) == 400, "as many images as 100 steps of 4 show"
    shares, expected = (of.bincount(minlength=10) / len(of) for of in (labels, data.train.labels))
    assert (shares - expected).abs().max() < 0.05
    assert torch.equal(tested(0), labels)
    assert not torch.equal(tested(1), labels), "another seed draws others"


# Memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_s_memory_is_about_what_torch_allocates(digits):
    """Against the growth of the process' largest resident set, in a process of its own."""
    code = (
        "import convwright as cw\n"
        "from pathlib import Path\n"
        "from convwright.data import open_dataset\n"
        "from convwright.training.preparation import make_learner, training_batches\n"
        "from convwright.training.memory_fit import step_bytes\n"
        "from convwright.training.plan import plan\n"
        "data = open_dataset('digits', resolution=32)\n"
        "config, network = plan(data, cw.network('cifar_resnet20'), batch_size=512)\n"
        "learner = make_learner(config, network, data)\n"
        "small = training_batches(config.model_copy(update={'batch_size': 4}), data)\n"
        "learner.train_step(*small.at(0), 0, 10)\n"
        "def most():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:'))\n"
        "before = most()\n"
        "told = 512 * step_bytes(learner, config, data)\n"
        "learner.train_step(*training_batches(config, data).at(0), 1, 10)\n"
        "print(told, most() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, taken = map(float, done.stdout.split())
    assert 0.6 < told / taken < 2.5


@pytest.mark.parametrize("images", [1, 3, 16, 40])
def test_the_batch_is_the_largest_power_of_two_that_fits(images, digits):
    config, network = plan(digits, cw.network("cifar_resnet8"))
    each = step_bytes(make_learner(config, network, digits), config, digits)
    fits = fitting_batch(config, network, digits, free=int(images * each / 0.7) + 1000)
    assert fits == min(2 ** (images.bit_length() - 1), 32)  # more would leave an epoch fewer than 40 steps


def test_not_even_one_image_is_told(digits):
    config, network = plan(digits, cw.network("cifar_resnet8"))
    with pytest.raises(ConvwrightError, match="not even one image of 8 px fits"):
        fitting_batch(config, network, digits, free=1000)


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # more take memory of their own


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory")
def test_out_of_memory_is_reported_with_what_would_fit(tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_DATA, (2_500_000_000, 2_500_000_000))

    options = ["--data", "digits", "--network", "cifar_resnet56", "--resolution", "128", "--epochs", "0.01"]
    options += ["--no-fit", "--batch-size", "1024"]
    done = subprocess.run(
        [*TRAIN, *options, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        preexec_fn=limited,
        env=ONE_THREAD,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert "a step with 1,024 images of 128 px does not fit into memory;" in message
    fits = int(message.rpartition("--batch-size ")[2])
    assert fits <= 16
    again = subprocess.run(
        [*TRAIN, *options[:-1], str(fits), "--out", tmp_path / "again", "--json"],
        capture_output=True,
        text=True,
        preexec_fn=limited,
        env=ONE_THREAD,
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["steps"] >= 1


def test_a_batch_is_estimated_where_nothing_can_be_measured(digits, monkeypatch):
    """After a failure the process can hold so much that even the sample does not fit."""

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("convwright.training.failures.fitting_batch", full)
    monkeypatch.setattr("convwright.training.memory_fit.available_memory", lambda: 1_000_000_000)
    monkeypatch.setattr("convwright.training.memory_fit.freed_memory", lambda: 0)
    larger = open_dataset("digits", resolution=128)
    config, network = plan(larger, cw.network("cifar_resnet56"), batch_size=1024)
    message = explain_failure(MemoryError(), config, network, larger, 1)
    assert "4 images should fit: train again with `accumulate=256`, or `batch_size=4`" in message
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # whose memory is not the computer's
    assert "; try `accumulate=16`, or `batch_size=64`" in explain_failure(MemoryError(), config, network, larger, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_memory_that_the_c_library_keeps_is_counted():
    with kept_memory():
        block = torch.ones(50_000_000)
        edge = torch.ones(1000)  # above the block, which would go back to the system otherwise
        before = freed_memory()
        del block
        assert freed_memory() - before >= 199_000_000
    assert edge.sum() == 1000


def test_other_failures_are_not_explained_away(digits):
    config, network = plan(digits, cw.network("cifar_resnet8"))
    assert explain_failure(RuntimeError("shapes do not match"), config, network, digits, 1) == ""
    assert explain_failure(RuntimeError("Connection closed by peer"), config, network, digits, 1) == ""
    assert "another process" in explain_failure(RuntimeError("Connection closed by peer"), config, network, digits, 2)

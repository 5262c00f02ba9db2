"""Runs that are killed by SIGKILL, again and again, end in the weights of one that is left alone."""

import random
import subprocess
import sys
import time

import pytest

from convwright.training.run import Run

from .test_loop import NOISY, assert_same, last_state

TRAIN = [sys.executable, "-m", "convwright", "train"]
EVERYTHING = [
    *("--data", "digits", "--network", NOISY, "--batch-size", "32", "--mixup", "0.2", "--cutmix", "0.5"),
    *("--randaugment", "5", "--erasing", "0.2", "--ema", "0.95", "--accumulate", "2", "--dropout", "0.2"),
    *("--stochastic-depth", "0.3", "--progressive", "0.5", "--class-weights", "balanced", "--lr", "0.02"),
]


def killed_until_done(path, options, draw, kills):
    """Begin a run and kill it at random moments of its training; go on each time, with other workers."""
    command = [*TRAIN, *options, "--out", str(path)]
    for _ in range(kills):
        workers = str(draw.choice((0, 1, 3)))
        process = subprocess.Popen(
            [*command, "--workers", workers, "--checkpoint-every", "0.002"], stderr=subprocess.DEVNULL
        )
        before = newest(path)
        while newest(path) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1.5))
        process.kill()
        process.wait()
        command = [*TRAIN, "--resume", str(path)]
    subprocess.run([*command, "--workers", "2"], check=True, capture_output=True)


def newest(path):
    folder = path / "checkpoints"
    return max((file.name for file in folder.glob("step-*.pt")), default="") if folder.exists() else ""


def check(tmp_path, epochs, kills):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    options = [*EVERYTHING, "--epochs", str(epochs)]
    subprocess.run([*TRAIN, *options, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    killed_until_done(tmp_path / "killed", options, random.Random(seed), kills)
    assert_same(last_state(tmp_path / "killed"), last_state(tmp_path / "whole"))
    one, other = (Run.open(tmp_path / name).weights.read_bytes() for name in ("killed", "whole"))
    assert one == other


@pytest.mark.slow
def test_a_run_killed_at_random_ends_in_the_same_weights(tmp_path):
    check(tmp_path, epochs=2, kills=3)


@pytest.mark.slow
def test_a_run_killed_many_times_ends_in_the_same_weights(tmp_path):
    check(tmp_path, epochs=6, kills=12)

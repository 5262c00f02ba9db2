"""Processes that share a run: what they learn together equals what one learns, and none is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from convwright.errors import UsageError
from convwright.training.config import TrainConfig
from convwright.training.devices import Devices, check_batch, check_devices
from convwright.training.run import Run

CONVWRIGHT = [sys.executable, "-m", "convwright", "train"]
RUN = ["--data", "digits", "--network", "cifar_seresnet8", "--batch-size", "33", "--seed", "3", "--no-fused"]
RECIPE = [
    *("--mixup", "0.2", "--ema", "0.9", "--lr", "0.02", "--label-smoothing", "0.1", "--clip-norm", "2"),
    *("--crop-scale", "0.6", "--rotation", "10", "--trivialaugment", "--sampling", "balanced", "--focal", "1"),
]
ENOUGH = len(os.sched_getaffinity(0)) > 1

pytestmark = pytest.mark.skipif(not ENOUGH, reason="needs two processor cores")


def train(path, *options, prefix=CONVWRIGHT, **how):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [*prefix, *map(str, options), "--out", str(path)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **how)


def weights(path):
    return load_file(path / "model.safetensors")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    done = train(path, *RUN, *RECIPE, "--epochs", "0.3")
    assert done.returncode == 0, done.stderr
    return path


def assert_near(path, other):
    """Equal up to the rounding of a dozen steps in float32; every further one makes it larger."""
    ours, theirs = weights(path), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=2e-3, atol=2e-4)
    rows, others = Run.open(path).metrics, Run.open(other).metrics
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in others], rel=1e-4)


def test_two_processes_learn_what_one_does(alone, tmp_path):
    done = train(tmp_path / "run", *RUN, *RECIPE, "--epochs", "0.3", "--devices", "2")
    assert done.returncode == 0, done.stderr
    assert ("--no-sync-norm" in done.stderr) == (not torch.cuda.device_count()), "advice for CPUs"
    assert_near(tmp_path / "run", alone)
    run = Run.open(tmp_path / "run")
    assert run.config.devices == run.summary.devices == 2


@pytest.mark.slow
def test_two_processes_learn_the_same_again(tmp_path):
    for name in ("run", "again"):
        done = train(tmp_path / name, *RUN, *RECIPE, "--epochs", "0.3", "--devices", "2")
        assert done.returncode == 0, done.stderr
    one, other = (Run.open(tmp_path / name).weights.read_bytes() for name in ("run", "again"))
    assert one == other


@pytest.mark.slow
def test_two_processes_learn_in_mixed_precision(tmp_path):
    options = [*RUN, "--lr", "0.02", "--epochs", "0.3", "--precision", "bf16-mixed"]
    losses = []
    for devices in (1, 2):
        path = tmp_path / str(devices)
        done = train(path, *options, "--devices", devices)
        assert done.returncode == 0, done.stderr
        losses.append([row["train_loss"] for row in Run.open(path).metrics])
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)


@pytest.mark.slow
def test_a_batch_in_more_pieces_than_a_process_has_images(tmp_path):
    """Of 33 images one process has 17 and the other 16: both must cut them into as many pieces."""
    recipe = ["--accumulate", "17", "--lr", "0.001", "--epochs", "0.05"]
    done = train(tmp_path / "run", *RUN, *recipe, "--devices", "2", timeout=120)
    assert done.returncode == 0, done.stderr


ENDED = """
import atexit, sys, torch

def ended():  # registered first, so called last
    print("ended" if not torch.distributed.is_initialized() else "left behind", flush=True)

atexit.register(ended)
from convwright.__main__ import main
main()
"""


def test_torchrun_starts_them_too_and_their_group_ends_before_the_interpreter(alone, tmp_path):
    (tmp_path / "program.py").write_text(ENDED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    prefix = [*torchrun, str(tmp_path / "program.py"), "train"]
    done = train(tmp_path / "run", *RUN, *RECIPE, "--epochs", "0.3", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert_near(tmp_path / "run", alone)
    assert (done.stdout.count("ended"), done.stdout.count("left behind")) == (2, 0)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_metrics(path, process):
    """Wait until a run has its first metrics, so that all processes are at work."""
    while not (path / "metrics.csv").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.slow
def test_each_process_normalises_its_share(tmp_path):
    """The gradient is that of a batch in two pieces; statistics are averaged, so that all processes have the same."""
    options = [*RUN, "--lr", "0.02", "--epochs", "0.3"]
    for name in ("ghosts", "again"):
        done = train(tmp_path / name, *options, "--devices", "2", "--no-sync-norm")
        assert done.returncode == 0, done.stderr
    assert "slower" not in done.stderr
    assert train(tmp_path / "pieces", *options, "--accumulate", "2").returncode == 0
    ours, again, theirs = (weights(tmp_path / name) for name in ("ghosts", "again", "pieces"))
    for name, value in ours.items():
        assert torch.equal(value, again[name])
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, theirs[name], rtol=2e-3, atol=2e-4)
    rows, others = (Run.open(tmp_path / name).metrics for name in ("ghosts", "pieces"))
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in others], rel=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize(
    ("victim", "more"),
    [(0, []), (1, []), (1, ["--no-sync-norm"])],
)
@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_the_run_goes_on_later(victim, more, tmp_path):
    path = tmp_path / "run"
    command = [*CONVWRIGHT, *RUN, *more, "--epochs", "3", "--devices", "2", "--out", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for_metrics(path, process)
    pids = children(process.pid)
    assert len(pids) == 2
    os.kill(sorted(pids)[victim], signal.SIGKILL)
    _, printed = process.communicate(timeout=60)
    assert process.returncode in (1, 137)
    assert "Traceback" not in printed
    assert re.search(r"convwright: .*(killed by signal 9|another process).*--resume", printed) or victim == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    done = subprocess.run([*CONVWRIGHT, "--resume", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = train(tmp_path / "whole", *RUN, *more, "--epochs", "3", "--devices", "2")
    assert whole.returncode == 0
    assert (path / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def listen():
    """Hear interrupts, which whoever started the tests in the background had ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_all_with_nothing_lost(number, tmp_path):
    path = tmp_path / "run"
    command = [*CONVWRIGHT, *RUN, "--epochs", "20", "--devices", "2", "--out", str(path)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    )
    wait_for_metrics(path, process)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + number, printed
    assert printed.count("a checkpoint was saved") == printed.count("convwright: ") == 1
    assert f"convwright train --resume {path}" in printed
    assert Run.open(path).load_checkpoint()["progress"]["step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("progress", [True, False])
def test_an_interrupt_in_python_is_that_of_one_device(progress, tmp_path):
    path = tmp_path / "run"
    program = f"""
import convwright as cw
try:
    cw.train("digits", network="cifar_resnet8", epochs=20, devices=2, out={str(path)!r}, progress={progress})
except KeyboardInterrupt as stopped:
    print(f"{{type(stopped).__name__}}: {{stopped}}")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen
    )
    wait_for_metrics(path, process)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed) == (0, f"Interrupted: interrupted; resume with `cw.resume({str(path)!r})`\n")
    assert Run.open(path).load_checkpoint()["progress"]["step"] > 0


def test_what_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(UsageError, match="batch_size: 3 images cannot be shared by 4 devices"):
        check_batch(3, 4)
    with pytest.raises(UsageError, match=r"devices: this machine has \d+ (processor cores|GPUs), not 1000; give 1 to"):
        check_devices(1000)
    with pytest.raises(UsageError, match="the run is for 2 processes, and 1 process takes part"):
        Devices(TrainConfig(data="digits", network="cifar_resnet8", resolution=8, devices=2))
    done = train(tmp_path / "run", *RUN, "--devices", "2", "--minutes", "1")
    assert (done.returncode, "--minutes: plans for one device" in done.stderr) == (2, True)
    assert not (tmp_path / "run").exists()


def test_the_library_beneath_says_nothing(caplog):
    Devices(TrainConfig(data="digits", network="cifar_resnet8", resolution=8, precision="bf16-mixed"))
    assert not caplog.records

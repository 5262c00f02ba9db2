"""Training compiled by torch: it learns the same, resumes to the same bits, and says in one line what it needs."""

import os
import subprocess
import sys

import pytest

import convwright as cw
from convwright.errors import UsageError
from convwright.training import compiling
from convwright.training.run import Run

from .test_loop import assert_same, last_state
from .test_operators import needs_compiler

TRAIN = [sys.executable, "-m", "convwright", "train"]
OPTIONS = [
    *("--data", "digits", "--network", "cifar_seresnet8", "--epochs", "0.4", "--dropout", "0.2", "--ema", "0.9"),
    *("--compile", "--checkpoint-every", "0"),
]
KILL = """
import os, signal, sys
import convwright as cw

class Kill(cw.callbacks.Callback):
    def on_step(self, step):
        if step.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)

cw.train("digits", network="cifar_seresnet8", epochs=0.4, dropout=0.2, ema=0.9, compile=True, checkpoint_every=0,
         out=sys.argv[1], callbacks=[Kill()])
"""


def run(*command: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"COLUMNS": "300"} | variables
    return subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)


@needs_compiler
@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_state_in_another_process(tmp_path):
    assert run(*TRAIN, *OPTIONS, "--out", tmp_path / "whole").returncode == 0
    assert run(sys.executable, "-c", KILL, tmp_path / "killed").returncode < 0
    assert not (tmp_path / "killed" / "summary.json").exists()
    done = run(*TRAIN, "--resume", tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert_same(last_state(tmp_path / "killed"), last_state(tmp_path / "whole"))
    assert run(*TRAIN, *OPTIONS, "--no-compile", "--out", tmp_path / "eager").returncode == 0
    losses = [[row["val_loss"] for row in Run.open(tmp_path / name).metrics] for name in ("whole", "eager")]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)  # dropout draws others


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--find-lr"]])
def test_a_compiler_that_fails_ends_the_run_in_one_line(more, tmp_path):
    done = run(
        *TRAIN, *OPTIONS, *more, "--out", tmp_path / "run", CXX="false", TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "made")
    )
    assert done.returncode == 1
    assert "torch.compile failed: " in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith("train without --compile")
    assert "Traceback" not in done.stderr


def test_without_a_compiler_it_is_refused_at_once(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiling.torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"`compile` needs a C\+\+ compiler such as g\+\+"):
        cw.prepare("digits", network="cifar_resnet8", compile=True, epochs=0.1)

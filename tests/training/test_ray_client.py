"""Training through Ray's client server, as from outside of a cluster."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import convwright as cw
from convwright.machine import available_cores
from convwright.training.launch import free_port

from ..installed import skip_without

skip_without("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="starts a cluster as a process group"),
    pytest.mark.skipif(len(available_cores()) < 2, reason="needs two processor cores"),
]
OPTIONS = {"network": "cifar_resnet8", "epochs": 1, "sync_norm": False, "seed": 3, "fused": False, "devices": 2}
CODE = "import sys, convwright as cw; cw.train('digits', **eval(sys.argv[1]), progress=False)"


@pytest.fixture
def client(monkeypatch, tmp_path):
    """The address of the client server of a cluster of this machine."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    port, gcs = free_port(), free_port()
    command = [Path(sysconfig.get_path("scripts")) / "ray", "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--port={gcs}", f"--ray-client-server-port={port}", "--include-dashboard=false"]
    command += ["--min-worker-port=10002", "--max-worker-port=19999"]
    # A folder of its own, with a short name: others would take the cluster noted in Ray's usual one for theirs.
    folder = TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
    command.append(f"--temp-dir={folder.name}")
    with folder, (tmp_path / "ray.log").open("w") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            for _ in range(600):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            yield f"ray://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGTERM)
            try:
                head.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)


def test_training_through_the_client_server_gives_the_same_weights_as_local_training(client, tmp_path):
    here = cw.train("digits", **OPTIONS, out=tmp_path / "here", progress=False)
    given = OPTIONS | {"out": str(tmp_path / "there"), "cluster": client}
    command = [sys.executable, "-W", "error::FutureWarning", "-c", CODE, repr(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr[-2000:]
    assert cw.open_run(tmp_path / "there").weights.read_bytes() == here.weights.read_bytes()

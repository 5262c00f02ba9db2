"""A study so small that its training runs take a second: three networks on digits."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import convwright as cw
from convwright.data import open_dataset
from convwright.scaling.experiment import Candidate, Experiment
from convwright.scaling.halving import Schedule

NETWORKS = ("cifar_resnet8|scale:w=0.5", "cifar_resnet8|scale:w=0.25", "cifar_seresnet8|scale:w=0.5")
BASE = f"{NETWORKS[0]}|resolution:8|channels:1"
SEARCH = [sys.executable, "-m", "convwright", "scale", "search", "cifar_seresnet8|scale:w=0.5", "--data", "digits"]
SEARCH += ["--tolerance", "0.2", "--rungs", "2", "--set", "progressive=0"]


@pytest.fixture(scope="session")
def fingerprint():
    return open_dataset("digits").fingerprint


@pytest.fixture
def experiment(fingerprint):
    base = cw.network(BASE)
    networks = [cw.network(f"{name}|resolution:8|channels:1") for name in NETWORKS]
    candidates = tuple(
        Candidate(network.name, network, {"alpha": 1.0 + index, "beta": 1.0, "gamma": 1.0}, cw.cost(network).macs)
        for index, network in enumerate(networks)
    )
    schedule = Schedule(len(candidates), epochs=0.5, rungs=2, keep=2, seeds=2)
    return Experiment(base, candidates, schedule, "digits", fingerprint, "fast", {"progressive": 0.0})


def postgres_programs():
    """Return the folder of PostgreSQL's server programs, or None."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@pytest.fixture(scope="session")
def postgres():
    """Start a PostgreSQL server of its own; give the URL of its database."""
    programs = postgres_programs()
    if programs is None:
        if "CI" in os.environ:
            pytest.fail("CI needs Debian's postgresql")
        pytest.skip("PostgreSQL is not installed")
    who = {"user": "postgres"} if os.geteuid() == 0 else {}  # the server refuses to be root
    folder = tempfile.mkdtemp(prefix="convwright-postgres-")
    if who:
        shutil.chown(folder, "postgres")
    try:
        quiet = {"check": True, "capture_output": True, "cwd": folder, **who}
        subprocess.run([programs / "initdb", "-D", f"{folder}/data", "-U", "tester", "-A", "trust"], **quiet)
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        control = [programs / "pg_ctl", "-D", f"{folder}/data", "-w", "-t", "60"]
        # Its output must not go to a pipe that it would keep open.
        subprocess.run([*control, "-o", options, "-l", f"{folder}/log", "start"], check=True, cwd=folder, **who)
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds=240):
    """Wait until a condition is true; fail if it stays false."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition stayed false"
        time.sleep(0.05)

"""A study so small that its training runs take a second: three networks on digits."""

import sys
import time

import pytest

import convwright as cw
from convwright.data import open_dataset
from convwright.scaling.experiment import Experiment, StudyCandidate
from convwright.scaling.halving import Schedule

from ..databases import postgres as postgres

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
        StudyCandidate(network.name, network, {"alpha": 1.0 + index, "beta": 1.0, "gamma": 1.0}, cw.cost(network).macs)
        for index, network in enumerate(networks)
    )
    schedule = Schedule(len(candidates), epochs=0.5, rungs=2, keep=2, seeds=2)
    return Experiment(base, candidates, schedule, "digits", fingerprint, "fast", {"progressive": 0.0})


def until(condition, seconds=240):
    """Wait until a condition is true; fail if it stays false."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition stayed false"
        time.sleep(0.05)

"""Real runs on real images, trained once for all tests of the report."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convwright.arch.expression import network
from convwright.data import open_dataset
from convwright.reporting import Entry, measuring
from convwright.scaling.latency import Stopwatch
from convwright.stats.intervals import wilson
from convwright.training.loop import train
from convwright.training.plan import plan
from convwright.training.run import Run

NETWORKS = {
    "DenseNet-BC": ("densenet_bc_l10_k4", 1.5),
    "SE-ResNet": ("cifar_seresnet8|scale:w=0.5", 0.5),
    "EfficientNet": ("efficientnet_b0|scale:d=0.3,w=0.125", 0.02),  # one step, and so one point in its curves
}
RIGHT, IMAGES = {"DenseNet-BC": 250, "SE-ResNet": 270, "EfficientNet": 258}, 359


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder, digits = tmp_path_factory.mktemp("runs"), open_dataset("digits")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, threads of so small networks wait for each other
    for title, (expression, epochs) in NETWORKS.items():
        config, fitted = plan(digits, network(expression), epochs=epochs)
        train(config, fitted, digits, folder / title)
    torch.set_num_threads(threads)
    return {title: Run.open(folder / title) for title in NETWORKS}


@pytest.fixture(scope="session")
def entry(runs: dict[str, Run]) -> Callable[..., Entry]:
    """Return a run's entry, right on so many images of the test split."""

    def of(run: str, right: int | None = None, title: str | None = None) -> Entry:
        right = RIGHT[run] if right is None else right
        return Entry(title or run, runs[run], right / IMAGES, wilson(right, IMAGES), IMAGES, "test")

    return of


@pytest.fixture(scope="session")
def entries(entry: Callable[..., Entry]) -> list[Entry]:
    return [entry(title) for title in NETWORKS]


@pytest.fixture(scope="session")
def measured(runs: dict[str, Run]) -> list[Entry]:
    """The networks' real answers to the 359 test images."""
    digits, stopwatch = open_dataset("digits"), Stopwatch(remember=False, threads=1)
    return [measuring.measure_run(run, digits, title, stopwatch=stopwatch) for title, run in runs.items()]


@pytest.fixture
def unfinished(entry: Callable[..., Entry], tmp_path: Path) -> Entry:
    """A network whose run was stopped before its first validation."""
    whole = entry("SE-ResNet").run
    run = Run.create(tmp_path / "stopped run", whole.config, whole.network, whole.classes, whole.data)
    return Entry("Stopped", run, 0.1, (0.07, 0.14), IMAGES, "test")

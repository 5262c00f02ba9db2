"""Real runs on real images, trained once for all tests here."""

from pathlib import Path

import pytest
import torch

from convwright.arch.expression import network
from convwright.data import open_dataset
from convwright.training.loop import train
from convwright.training.plan import plan

from ..cli.conftest import convwright  # noqa: F401 - a fixture

NETWORKS = {"dense": ("densenet_bc_l16_k8", 2), "gated": ("cifar_seresnet14|scale:w=0.5", 2)}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, digits = tmp_path_factory.mktemp("explained"), open_dataset("digits")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, threads of so small networks wait for each other
    for title, (expression, epochs) in NETWORKS.items():
        config, fitted = plan(digits, network(expression), epochs=epochs)
        train(config, fitted, digits, folder / title)
    torch.set_num_threads(threads)
    return {title: folder / title for title in NETWORKS}

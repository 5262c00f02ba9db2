"""Real runs on real images, trained once for all tests here."""

from pathlib import Path

import pytest
import torch

import convwright as cw

from ..cli.conftest import convwright  # noqa: F401 - a fixture

NETWORKS = {"dense": ("densenet_bc_l16_k8", 2), "gated": ("cifar_seresnet14|scale:w=0.5", 2)}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("explained")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, threads of so small networks wait for each other
    for title, (expression, epochs) in NETWORKS.items():
        cw.train("digits", network=expression, epochs=epochs, out=folder / title, progress=False)
    torch.set_num_threads(threads)
    return {title: folder / title for title in NETWORKS}

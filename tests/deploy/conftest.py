"""A run trained for real on the digits, small and short."""

import pytest

import convwright as cw

from .subjects import subject_of


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Two epochs on the digits."""
    from convwright.data import open_dataset
    from convwright.training.loop import train
    from convwright.training.plan import plan

    path = tmp_path_factory.mktemp("deployed") / "digits"
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_seresnet8|scale:w=0.25"), epochs=2)
    train(config, network, data, path)
    return path


@pytest.fixture(scope="module")
def subject():
    return subject_of("cifar_seresnet8|scale:w=0.25|resolution:16")

"""Networks to export."""

import pytest

from ..subjects import subject_of, trained_run


@pytest.fixture(scope="session")
def run():
    """A run of two epochs on the digits."""
    return trained_run()


@pytest.fixture(scope="module")
def subject():
    return subject_of("cifar_seresnet8|scale:w=0.25|resolution:16")

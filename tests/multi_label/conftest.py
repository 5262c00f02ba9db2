"""Images with up to three handwritten digits in the quarters of a square; their labels are the digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import convwright as cw

from ..cli.conftest import convwright  # noqa: F401 - a fixture

CLASSES = [f"digit {digit}" for digit in range(10)]


def tiles(count, seed):
    """Return images, N x 16 x 16, and their labels, bool N x 10; some images are empty."""
    source, draw = load_digits(), np.random.default_rng(seed)
    digits = (source.images * 15.9).astype(np.uint8)
    images, labels = np.zeros((count, 16, 16), np.uint8), np.zeros((count, 10), bool)
    for row, (image, several) in enumerate(zip(images, labels, strict=True)):
        for place in draw.permutation(4)[: (row + 1) % 4]:
            chosen = draw.integers(0, len(digits))
            top, left = 8 * (place // 2), 8 * (place % 2)
            image[top : top + 8, left : left + 8] = digits[chosen]
            several[source.target[chosen]] = True
    return images, labels


def opened(images, labels, **options):
    """Open arrays: the first 480 to train on, 160 to validate, and the rest to test."""
    return cw.open_data(
        images=images[:480],
        labels=labels[:480],
        val_images=images[480:640],
        val_labels=labels[480:640],
        test_images=images[640:],
        test_labels=labels[640:],
        flip=False,
        **{"classes": CLASSES} | options,
    )


@pytest.fixture(scope="session")
def arrays():
    return tiles(800, 0)


@pytest.fixture(scope="session")
def data(arrays):
    return opened(*arrays)


@pytest.fixture(scope="session")
def run(data, tmp_path_factory):
    """A run that has learnt more than chance."""
    path = tmp_path_factory.mktemp("runs") / "tiles"
    options = {"epochs": 14, "batch_size": 32, "learning_rate": 0.1, "crop": 0}
    return cw.train(data, network="cifar_seresnet8", out=path, **options)

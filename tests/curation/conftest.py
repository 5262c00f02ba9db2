from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import convwright as cw
from convwright.curation.pool import Pool
from convwright.data import Split
from convwright.data.opened import Data

from ..cli.conftest import convwright as convwright


@pytest.fixture(scope="session")
def pool_of() -> Callable[[np.ndarray], Pool]:
    """A pool of training images, N x C x H x W, all of one class."""
    digits = cw.open_data("digits").dataset()

    def pool(pixels: np.ndarray) -> Pool:
        images = Split(torch.from_numpy(pixels), torch.zeros(len(pixels), dtype=torch.int64))
        data = replace(digits, train=images, val=images.choose(torch.arange(0)), test=None, held_out=True)
        return Pool.of(data)

    return pool


@pytest.fixture(scope="session")
def flipped() -> tuple[Data, np.ndarray, np.ndarray]:
    """Digits, 5 % of whose training labels are wrong; which of them are, and the true labels."""
    parts = cw.open_data("digits").dataset()
    random = np.random.default_rng(0)
    images = torch.cat([parts.train.images, parts.val.images]).permute(0, 2, 3, 1).numpy()
    true = torch.cat([parts.train.labels, parts.val.labels]).numpy()
    wrong = np.zeros(len(true), bool)
    wrong[random.choice(len(true), len(true) // 20, replace=False)] = True
    labels = np.where(wrong, (true + random.integers(1, 10, len(true))) % 10, true)
    assert parts.test is not None
    test = parts.test.images.permute(0, 2, 3, 1).numpy()
    data = cw.open_data(images=images, labels=labels, test_images=test, test_labels=parts.test.labels.numpy())
    return data, wrong, true

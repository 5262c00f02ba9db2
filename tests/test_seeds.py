"""Seeds: one range everywhere, in which each gives its own numbers."""

import numpy as np
import pytest
import torch

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ArgumentError
from convwright.seeds import LARGEST_SEED, derive

WRONG = (LARGEST_SEED + 1, -LARGEST_SEED - 1, 10**400, 10**5000)
TAKERS = {
    "request": lambda seed: cw.TrainRequest(data="digits", seed=seed),
    "split": lambda seed: cw.TrainRequest(data="digits", split_seed=seed),
    "open_data": lambda seed: cw.open_data("digits", seed=seed),
    "open_dataset": lambda seed: open_dataset("digits", seed=seed),
    "build": lambda seed: cw.build("cifar_resnet8", seed=seed),
    "derive": lambda seed: derive(seed, "test"),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize(
    "seed", [*WRONG, 1.5, "one", True], ids=lambda seed: f"{seed!r:.30}" if seed != WRONG[-1] else "long"
)
def test_a_number_that_is_no_seed_is_refused(name, seed):
    with pytest.raises(ArgumentError, match=r"seed: must be "):
        TAKERS[name](seed)


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("seed", [-1, 0, LARGEST_SEED, -LARGEST_SEED])
def test_negative_seeds_are_seeds_everywhere(name, seed):
    assert TAKERS[name](seed) is not None


def test_a_seed_and_its_opposite_give_other_numbers():
    assert derive(1, "test") != derive(-1, "test")
    assert derive(np.int64(-1), "test") == derive(-1, "test")
    first, second = (cw.build("cifar_resnet8", seed=seed).state_dict() for seed in (-1, 1))
    assert any(not torch.equal(first[name], second[name]) for name in first)

from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from convwright.data import Augmentation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_default_changes_nothing() -> None:
    images = torch.rand(3, 1, 5, 5)
    assert Augmentation().apply(images, seeded()) is images
    assert Augmentation(**asdict(Augmentation(crop=4, flip=True))) == Augmentation(4, True)


@given(
    crop=st.integers(0, 3),
    flip=st.booleans(),
    channels=st.integers(1, 3),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    dtype=st.sampled_from([torch.uint8, torch.float32]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_each_image_is_a_crop_of_its_padded_self(
    crop: int, flip: bool, channels: int, size: tuple[int, int], dtype: torch.dtype, seed: int
) -> None:
    height, width = size
    images = torch.arange(1, 1 + 4 * channels * height * width).view(4, channels, height, width).to(dtype)
    varied = Augmentation(crop, flip).apply(images, seeded(seed))
    assert varied.shape == images.shape
    assert varied.dtype == dtype
    padded = F.pad(images, (crop,) * 4)
    for before, after in zip(padded, varied, strict=True):
        crops = [before[:, y : y + height, x : x + width] for y in range(2 * crop + 1) for x in range(2 * crop + 1)]
        mirrored = [part.flip(2) for part in crops] if flip else []
        assert any(torch.equal(after, part) for part in crops + mirrored)


def test_each_image_has_draws_of_its_own_and_all_crops_occur() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4) + 1
    varied = Augmentation(crop=1, flip=True).apply(image.expand(1000, -1, -1, -1), seeded())
    kinds, counts = torch.unique(varied.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 3 * 3 * 2
    assert counts.min() > 25


def test_flips_are_about_half() -> None:
    image = torch.tensor([[[[0.0, 1.0]]]])
    varied = Augmentation(flip=True).apply(image.expand(1000, -1, -1, -1), seeded())
    assert varied[:, 0, 0, 0].mean().item() == pytest.approx(0.5, abs=0.06)


def test_equal_generators_give_equal_batches() -> None:
    images = torch.rand(8, 3, 9, 9)
    augmentation = Augmentation(crop=2, flip=True)
    first = augmentation.apply(images, seeded(5))
    assert torch.equal(first, augmentation.apply(images, seeded(5)))
    assert not torch.equal(first, augmentation.apply(images, seeded(6)))

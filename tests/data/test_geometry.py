"""Random resized crops and rotations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as ops

from convwright.data.geometry import STRETCH, crop_boxes, mapped, resized_crops, rotations


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    extent=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    smallest=st.floats(0.01, 1),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=100)
def test_boxes_lie_in_the_image(extent: tuple[int, int], size: tuple[int, int], smallest: float, seed: int) -> None:
    tops, lefts, heights, widths = crop_boxes(30, extent, smallest, size, seeded(seed)).unbind(1)
    assert min(tops.min(), lefts.min()) >= 0
    assert min(heights.min(), widths.min()) >= 1
    assert (tops + heights).max() <= extent[0]
    assert (lefts + widths).max() <= extent[1]


@pytest.mark.parametrize("size", [(50, 50), (50, 100)])
def test_areas_and_aspects_are_within_their_limits_and_take_all_values(size: tuple[int, int]) -> None:
    high, wide = 4 * size[0], 4 * size[1]
    tops, lefts, heights, widths = crop_boxes(4000, (high, wide), 0.25, size, seeded()).double().unbind(1)
    area = heights * widths / (high * wide)
    aspect = widths / heights * size[0] / size[1]
    assert 0.24 < area.min() < 0.27
    assert area.max() > 0.95
    assert 1 / STRETCH - 0.02 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < STRETCH + 0.02
    small = area < 0.5  # free to lie anywhere
    assert tops[small].min() == 0
    assert (tops + heights)[small].max() == high
    assert float((lefts / (wide - widths))[small].mean()) == pytest.approx(0.5, abs=0.03)


def test_crops_are_the_resized_boxes() -> None:
    images = torch.randint(256, (6, 3, 30, 20), dtype=torch.uint8, generator=seeded())
    made = resized_crops(images, 0.3, (12, 8), seeded(1))
    boxes = crop_boxes(6, (30, 20), 0.3, (12, 8), seeded(1))
    assert made.shape == (6, 3, 12, 8)
    for image, result, (top, left, height, width) in zip(images, made, boxes.tolist(), strict=True):
        part = image[None, :, top : top + height, left : left + width].double()
        expected = interpolate(part, size=(12, 8), mode="bilinear", antialias=True)
        assert (result.double() - expected[0]).abs().max() <= 1.01


def test_the_whole_image_at_its_own_size_is_unchanged() -> None:
    images = torch.randint(256, (4, 1, 9, 7), dtype=torch.uint8, generator=seeded())
    assert torch.equal(resized_crops(images, 1.0, (9, 7), seeded()), images)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_quarter_turns_move_pixels(degrees: int, dtype: torch.dtype) -> None:
    images = torch.randint(256, (3, 2, 6, 6), dtype=torch.uint8, generator=seeded()).to(dtype)
    turned = mapped(images, rotations(torch.full((3,), float(degrees))))
    torch.testing.assert_close(turned, torch.rot90(images, degrees // 90, (2, 3)), rtol=0, atol=2e-2)


def test_images_that_are_not_square_are_turned_without_distortion() -> None:
    images = torch.rand(4, 1, 24, 40)
    degrees = torch.tensor([10.0, -20.0, 33.0, 150.0])
    turned = mapped(images, rotations(degrees), nearest=True)
    for image, angle, result in zip(images, degrees.tolist(), turned, strict=True):
        assert (result != ops.rotate(image, angle)).double().mean() < 0.01


def test_moves_are_in_pixels() -> None:
    images = torch.rand(2, 1, 5, 8)
    moved = mapped(images, torch.eye(2).expand(2, 2, 2), torch.tensor([[3.0, 0.0], [0.0, -1.0]]), nearest=True)
    expected = torch.zeros_like(images)
    expected[0, :, :, :5] = images[0, :, :, 3:]
    expected[1, :, 1:] = images[1, :, :-1]
    assert torch.equal(moved, expected)
    assert math.isclose(float(rotations(torch.tensor([90.0]))[0, 1, 0]), 1)

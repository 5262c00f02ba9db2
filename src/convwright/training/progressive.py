"""Progressive resolution: small images first, which cost less and teach as much to a network that knows little."""

import torch
from torch.nn.functional import interpolate

from convwright.arch.resolution import Resolution, resolution_of, sides
from convwright.training.config import Recipe

STEP = 4
"""Sides of shrunk images are multiples of this many pixels, so that few sizes occur."""


def size_at(recipe: Recipe, resolution: Resolution, step: int, steps: int) -> tuple[int, int]:
    """Return height and width of a step's images: from half of the resolution they grow in a straight line."""
    growing = recipe.progressive * steps
    height, width = sides(resolution)
    if step >= growing:
        return height, width
    return _grown(height, step, growing), _grown(width, step, growing)


def smallest(resolution: Resolution) -> Resolution:
    """Return the resolution of the first images: half of the last, its sides rounded up to multiples of `STEP`."""
    return resolution_of(*map(_smallest_side, sides(resolution)))


def _grown(side: int, step: int, growing: float) -> int:
    grown = _smallest_side(side) + (side - _smallest_side(side)) * step / growing
    return min(side, max(_smallest_side(side), round(grown / STEP) * STEP))


def _smallest_side(side: int) -> int:
    return min(side, -(-side // (2 * STEP)) * STEP)


def shrunk(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return N x C x H x W images at another size, averaged as they shrink."""
    if images.shape[-2:] == size:
        return images
    return interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)

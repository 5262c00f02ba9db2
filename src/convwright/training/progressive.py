"""Progressive resolution: small images first, which cost less and teach as much to a network that knows little."""

import torch
from torch.nn.functional import interpolate

from convwright.training.config import Recipe

STEP = 4
"""Sides of shrunk images are multiples of this many pixels, so that few sizes occur."""


def side_at(recipe: Recipe, resolution: int, step: int, steps: int) -> int:
    """Return the side in pixels of a step's images: from half of the resolution it grows in a straight line."""
    growing = recipe.progressive * steps
    if step >= growing:
        return resolution
    side = smallest(resolution) + (resolution - smallest(resolution)) * step / growing
    return min(resolution, round(side / STEP) * STEP)


def smallest(resolution: int) -> int:
    """Return the side of the first images: half of the resolution, rounded up to a multiple of `STEP`."""
    return min(resolution, -(-resolution // (2 * STEP)) * STEP)


def shrunk(images: torch.Tensor, side: int) -> torch.Tensor:
    """Return N x C x H x W images at another size, averaged as they shrink."""
    if images.shape[-1] == side:
        return images
    return interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)

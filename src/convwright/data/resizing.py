"""Resizing of decoded images that have no files, in whole batches."""

import torch
from torch.nn.functional import interpolate

from convwright.data.framing import FILL, Resize


def resized_pixels(images: torch.Tensor, size: tuple[int, int], resize: Resize = "crop") -> torch.Tensor:
    """Return uint8 images, N x C x H x W, at another height and width.

    Args:
        images: The images.
        size: Height and width of the result.
        resize: As of `Framing`.
    """
    height, width = images.shape[-2:]
    if resize == "crop":
        cut_height, cut_width = _largest_of_ratio((height, width), size)
        top, left = (height - cut_height) // 2, (width - cut_width) // 2
        images = images[..., top : top + cut_height, left : left + cut_width]
    if resize != "pad":
        return interpolate(images, size=size, mode="bicubic", antialias=True)
    inner = _largest_of_ratio(size, (height, width))
    whole = torch.full((*images.shape[:2], *size), FILL, dtype=images.dtype)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    resized = interpolate(images, size=inner, mode="bicubic", antialias=True)
    whole[..., top : top + inner[0], left : left + inner[1]] = resized
    return whole


def _largest_of_ratio(size: tuple[int, int], like: tuple[int, int]) -> tuple[int, int]:
    """Return the largest height and width within a size that have the proportions of another one, rounded."""
    scale = min(size[0] / like[0], size[1] / like[1])
    height, width = (min(most, max(1, round(scale * side))) for most, side in zip(size, like, strict=True))
    return height, width

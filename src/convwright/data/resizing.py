"""Resizing of decoded images that have no files, as files are resized."""

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from convwright.data.framing import FILL, Framing, Resize
from convwright.data.images import fitted
from convwright.data.threads import in_threads


def resized_pixels(images: torch.Tensor, size: tuple[int, int], framing: Framing = Framing()) -> torch.Tensor:
    """Return uint8 images, N x C x H x W, at another height and width, with the pixels that `fitted` returns.

    Args:
        images: The images.
        size: Height and width of the result.
        framing: How images are cropped and resized. Of decoder 1, torch resizes them, as it did for such runs.
    """
    if framing.decoder == 1:
        return _resized_by_torch(images, size, framing.resize)

    def work(image: np.ndarray) -> np.ndarray:
        return fitted(_as_picture(image), size, len(image), framing)

    pixels = torch.empty(*images.shape[:2], *size, dtype=torch.uint8)
    for target, result in zip(pixels.numpy(), in_threads(work, list(images.numpy()), None, ""), strict=True):
        target[:] = result
    return pixels


def _as_picture(image: np.ndarray) -> Image.Image:
    """Return pixels, C x H x W, as Pillow's image."""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))


def _resized_by_torch(images: torch.Tensor, size: tuple[int, int], resize: Resize) -> torch.Tensor:
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

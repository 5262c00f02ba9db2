"""What decoder 1 did differently, so that runs of earlier versions find their images unchanged."""

import numpy as np
from PIL import Image

from convwright.arch.resolution import Resolution, sides


def draft(image: Image.Image, resolution: Resolution) -> None:
    """Let a JPEG be decoded at a fraction of its size, at least twice the resolution."""
    height, width = sides(resolution)
    image.draft(image.mode, (2 * width, 2 * height))


def in_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of more than 8 bits to 0..255: from 16 bits where they fit, else from the image's own range."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scaled = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().astype(np.uint8))

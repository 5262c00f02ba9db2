"""Images as data URIs, for pages and notebooks: small images without loss."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

SMALL = 40
"""Images of up to this many pixels a side are stored without loss and enlarged without smoothing."""
LARGEST = 224
"""Larger images are reduced to this many pixels a side; no gallery shows them larger."""


def data_uri(pixels: np.ndarray) -> str:
    """Return an image as a data URI.

    Args:
        pixels: H x W (grey) or H x W x 3, uint8.
    """
    form = "PNG" if is_small(pixels) else "JPEG"
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=80)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def is_small(pixels: np.ndarray) -> bool:
    """Return whether an image is so small that it is enlarged without smoothing."""
    return bool(max(pixels.shape[:2]) <= SMALL)


def as_pixels(image: "torch.Tensor") -> np.ndarray:
    """Return an image in the layout of Pillow and browsers.

    Args:
        image: C x H x W, uint8, with one channel or three.

    Returns:
        H x W (grey) or H x W x 3.
    """
    array = image.cpu().numpy()
    return array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))

"""Images inside the page: as data URIs, small ones without loss."""

import base64
import io

import numpy as np
import torch
from PIL import Image

SMALL = 40
"""Images of up to so many pixels are enlarged without smoothing, and kept without loss."""
LARGEST = 224
"""Larger images are reduced to so many pixels: no screen shows them larger in a gallery."""


def data_uri(pixels: np.ndarray) -> str:
    """Return uint8 pixels, H x W (grey) or H x W x 3, as the address of an image that holds them."""
    form = "PNG" if is_small(pixels) else "JPEG"
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=80)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def is_small(pixels: np.ndarray) -> bool:
    """Is an image so small that it is enlarged without smoothing?"""
    return max(pixels.shape[:2]) <= SMALL


def as_pixels(image: torch.Tensor) -> np.ndarray:
    """Return a uint8 image, C x H x W, as Pillow and browsers have it: H x W (grey), or H x W x 3."""
    array = image.cpu().numpy()
    return array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))

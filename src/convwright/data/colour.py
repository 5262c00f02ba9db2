"""Brightness, contrast, saturation and hue of batches: one linear map of the channels of each image."""

import math

import torch

GREY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in the grey value (ITU-R BT.601)."""
CHROMA = ((0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""Shares of red, green and blue in the two chroma signals of YIQ, in whose plane hues are angles."""
CHUNK = 2**18
"""Values of a batch that are mapped at a time on a CPU: they stay in its cache."""


def adjusted(
    images: torch.Tensor,
    brightness: torch.Tensor | None = None,
    contrast: torch.Tensor | None = None,
    saturation: torch.Tensor | None = None,
    hue: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return uint8 images with other colours, changed in the order of the arguments.

    Saturation and hue leave images without three channels unchanged. Values are limited to 0 to 255 once, at the end.

    Args:
        images: N x C x H x W, uint8.
        brightness: N factors of all values.
        contrast: N factors of the distance from the image's mean grey value.
        saturation: N factors of the distance of each pixel from its grey value.
        hue: N turns of the hue, as shares of the full circle.
    """
    count, channels = images.shape[:2]
    ones = torch.ones(count)
    brightness = ones if brightness is None else brightness
    contrast = ones if contrast is None else contrast
    grey = torch.tensor(GREY) if channels == 3 else torch.full((channels,), 1 / channels)
    matrices = (brightness * contrast)[:, None, None] * torch.eye(channels)
    if channels == 3 and saturation is not None:
        matrices = _saturations(saturation) @ matrices
    if channels == 3 and hue is not None:
        matrices = _hues(hue) @ matrices
    changed, device = torch.empty_like(images), images.device
    brightness, contrast, grey, matrices = (each.to(device) for each in (brightness, contrast, grey, matrices))
    few = max(1, CHUNK // max(1, images[:1].numel())) if device.type == "cpu" else count
    for rows in torch.arange(count).split(few):
        part = images[rows].float().flatten(2)
        # Grey stays grey under all matrices, so that the shift of contrast is the same in all channels.
        shift = (1 - contrast[rows]) * brightness[rows] * (part.mean(2) @ grey)
        values = torch.baddbmm(shift[:, None, None].expand(-1, channels, 1), matrices[rows], part)
        changed[rows] = values.round_().clamp_(0, 255).view(images[rows].shape).to(torch.uint8)
    return changed


def jittered(
    images: torch.Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return uint8 images with colours changed at random, each image by draws of its own.

    Args:
        images: N x C x H x W, uint8.
        brightness: Factors are drawn from 1 - brightness (at least 0) to 1 + brightness; likewise for the next two.
        contrast: See brightness.
        saturation: See brightness.
        hue: Turns are drawn from -hue to hue, as shares of the full circle.
        generator: Source of the draws.
    """
    draws = torch.rand(4, len(images), generator=generator)
    factors = [
        max(0.0, 1 - most) + draw * (1 + most - max(0.0, 1 - most))
        for most, draw in zip((brightness, contrast, saturation), draws, strict=False)
    ]
    turns = (2 * draws[3] - 1) * hue if hue else None
    return adjusted(images, factors[0], factors[1], factors[2] if saturation else None, turns)


def _saturations(factors: torch.Tensor) -> torch.Tensor:
    """Return matrices N x 3 x 3 that stretch colours from their grey value."""
    grey = torch.tensor(GREY).expand(3, 3)
    return factors[:, None, None] * torch.eye(3) + (1 - factors)[:, None, None] * grey


def _hues(turns: torch.Tensor) -> torch.Tensor:
    """Return matrices N x 3 x 3 that turn hues and keep grey values."""
    into = torch.tensor((GREY, *CHROMA), dtype=torch.float64)
    into[1:] -= into[1:].mean(1, keepdim=True)  # grey has no chroma, exactly
    into[0] /= into[0].sum()
    angles = turns.double() * (2 * math.pi)
    turned = torch.zeros(len(turns), 3, 3, dtype=torch.float64)
    turned[:, 0, 0] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = angles.cos()
    turned[:, 1, 2], turned[:, 2, 1] = -angles.sin(), angles.sin()
    matrices: torch.Tensor = torch.linalg.inv(into) @ turned @ into
    return matrices.float()

"""TrivialAugment (Müller and Hutter, 2021) on a batch: one random operation for each image, at a strength of its own.

Images that drew the same operation go through it together, each at its own strength. The ranges are those of the
paper's wide space, but for moves, which are limited to `FARTHEST` of the side so that small images stay in view.
"""

from collections.abc import Callable

import torch
from torchvision.transforms.v2 import functional as ops

from convwright.data.colour import adjusted
from convwright.data.geometry import mapped, rotations
from convwright.data.randaugment import FARTHEST

STRENGTHS = 31
LONGEST_MOVE = 32
"""Pixels by which an image is moved at the most."""

Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Called with uint8 images and the strength of each: 0 to 1, or -1 to 1 for an operation of two directions."""


def _sheared(images: torch.Tensor, slopes: torch.Tensor, axis: int) -> torch.Tensor:
    matrices = torch.eye(2).repeat(len(images), 1, 1)
    matrices[:, axis, 1 - axis] = slopes
    return mapped(images, matrices, nearest=True)


def _moved(images: torch.Tensor, strengths: torch.Tensor, axis: int) -> torch.Tensor:
    moves = torch.zeros(len(images), 2)
    moves[:, axis] = (strengths * min(LONGEST_MOVE, FARTHEST * images.shape[3 - axis])).round()
    return mapped(images, torch.eye(2).expand(len(images), 2, 2), moves, nearest=True)


def _sharpened(images: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
    smooth: torch.Tensor = ops.adjust_sharpness(images, 0.0).float()
    factors = (1 + 0.99 * strengths)[:, None, None, None].to(images.device)
    return smooth.lerp(images.float(), factors).round_().clamp_(0, 255).to(torch.uint8)


def _posterized(images: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
    lost = (6 * strengths).round().long()  # of the eight bits
    return images & (256 - 2**lost).to(images.device, torch.uint8)[:, None, None, None]


def _solarized(images: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
    limits = (255 * (1 - strengths))[:, None, None, None].to(images.device)
    return torch.where(images >= limits, 255 - images, images)


SIGNED: dict[str, Operation] = {
    "shear x": lambda images, strengths: _sheared(images, 0.99 * strengths, 0),
    "shear y": lambda images, strengths: _sheared(images, 0.99 * strengths, 1),
    "translate x": lambda images, strengths: _moved(images, strengths, 0),
    "translate y": lambda images, strengths: _moved(images, strengths, 1),
    "rotate": lambda images, strengths: mapped(images, rotations(135 * strengths), nearest=True),
    "brightness": lambda images, strengths: adjusted(images, brightness=1 + 0.99 * strengths),
    "colour": lambda images, strengths: adjusted(images, saturation=1 + 0.99 * strengths),
    "contrast": lambda images, strengths: adjusted(images, contrast=1 + 0.99 * strengths),
    "sharpness": _sharpened,
}
ONE_WAY: dict[str, Operation] = {
    "identity": lambda images, _: images,
    "posterize": _posterized,
    "solarize": _solarized,
    "autocontrast": lambda images, _: ops.autocontrast(images),
    "equalize": lambda images, _: ops.equalize(images),
}
OPERATIONS: tuple[Operation, ...] = (*SIGNED.values(), *ONE_WAY.values())


def trivialaugment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the uint8 batch with each image changed by an operation and a strength that it draws for itself."""
    drawn = torch.randint(len(OPERATIONS), (len(images),), generator=generator)
    strengths = torch.randint(STRENGTHS, (len(images),), generator=generator) / (STRENGTHS - 1)
    negative = (torch.rand(len(images), generator=generator) < 0.5) & (drawn < len(SIGNED))
    strengths = torch.where(negative, -strengths, strengths)
    images = images.clone()
    for index, operation in enumerate(OPERATIONS):
        group = torch.nonzero(drawn == index).flatten()
        if len(group):
            images[group] = operation(images[group], strengths[group])
    return images

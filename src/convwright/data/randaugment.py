"""RandAugment (Cubuk et al., 2020) on a batch: two random operations for each image, at one magnitude.

Images that drew the same operation go through it together, so that a batch costs a few dozen calls however many
images it has. The operations and their ranges are torchvision's.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torchvision.transforms.v2 import functional as ops

OPERATIONS_AN_IMAGE = 2
FARTHEST = 150 / 331
"""Share of the side by which an image is moved at the most."""

Operation = Callable[[torch.Tensor, float], torch.Tensor]
"""Called with uint8 images and a strength: 0 to 1, or -1 to 1 for an operation of two directions."""


def _affine(
    images: torch.Tensor,
    angle: float = 0,
    translate: Sequence[int] = (0, 0),
    shear: Sequence[float] = (0, 0),
    center: list[float] | None = None,
) -> torch.Tensor:
    degrees = [math.degrees(math.atan(slope)) for slope in shear]
    moved: torch.Tensor = ops.affine(
        images, angle=angle, translate=list(translate), scale=1, shear=degrees, center=center
    )
    return moved


SIGNED: dict[str, Operation] = {
    "shear x": lambda images, strength: _affine(images, shear=(0.3 * strength, 0), center=[0, 0]),
    "shear y": lambda images, strength: _affine(images, shear=(0, 0.3 * strength), center=[0, 0]),
    "translate x": lambda images, strength: _affine(
        images, translate=(int(150 / 331 * images.shape[-1] * strength), 0)
    ),
    "translate y": lambda images, strength: _affine(
        images, translate=(0, int(150 / 331 * images.shape[-2] * strength))
    ),
    "rotate": lambda images, strength: ops.rotate(images, 30 * strength),
    "brightness": lambda images, strength: ops.adjust_brightness(images, 1 + 0.9 * strength),
    "colour": lambda images, strength: ops.adjust_saturation(images, 1 + 0.9 * strength),
    "contrast": lambda images, strength: ops.adjust_contrast(images, 1 + 0.9 * strength),
    "sharpness": lambda images, strength: ops.adjust_sharpness(images, 1 + 0.9 * strength),
}
ONE_WAY: dict[str, Operation] = {
    "identity": lambda images, _: images,
    "posterize": lambda images, strength: ops.posterize(images, 8 - round(4 * strength)),
    "solarize": lambda images, strength: ops.solarize(images, 255 * (1 - strength)),
    "autocontrast": lambda images, _: ops.autocontrast(images),
    "equalize": lambda images, _: ops.equalize(images),
}
OPERATIONS: tuple[Operation, ...] = (*SIGNED.values(), *ONE_WAY.values())


def randaugment(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Return the uint8 batch with each image changed by operations that it draws for itself.

    Args:
        images: N x C x H x W, uint8.
        strength: Strength of all operations, 0 to 1: the magnitude as a share of the largest one.
        generator: Source of all draws.
    """
    shape = (OPERATIONS_AN_IMAGE, len(images))
    drawn = torch.randint(len(OPERATIONS), shape, generator=generator)
    negative = (torch.rand(shape, generator=generator) < 0.5) & (drawn < len(SIGNED))
    images = images.clone()
    for operations, signs in zip(drawn, negative, strict=True):
        for index, operation in enumerate(OPERATIONS):
            for sign in (False, True):
                group = torch.nonzero((operations == index) & (signs == sign)).flatten()
                if len(group):
                    images[group] = operation(images[group], -strength if sign else strength)
    return images

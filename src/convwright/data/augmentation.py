"""Augmentation of whole batches at once, each image by draws of its own, from one generator."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from convwright.data.colour import jittered
from convwright.data.geometry import STRETCH, mapped, resized_crops, rotations
from convwright.data.mixing import cutmix, mixup, rectangles
from convwright.errors import UsageError

MAGNITUDES = 30
"""Largest magnitude of RandAugment's operations."""
ERASED_AREA, ERASED_RATIO = (0.02, 1 / 3), (0.3, 3.3)
"""Least and largest share of an erased rectangle, and height over width (Zhong et al.: Random Erasing)."""

LIMITS = {
    **{"crop": math.inf, "randaugment": MAGNITUDES, "erasing": 1, "mixup": math.inf, "cutmix": math.inf},
    **{"crop_scale": 1, "rotation": 180, "hue": 0.5},
    **{"brightness": math.inf, "contrast": math.inf, "saturation": math.inf},
}
"""Largest value of each number of an augmentation."""


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. The default varies nothing."""

    crop: int = 0
    """Pad by this many pixels on each side, then crop the former size at random; 0: no crop."""
    flip: bool = False
    """Mirror each image with probability 0.5."""
    randaugment: int = 0
    """Magnitude, up to 30, of two random operations on each image; 0: none."""
    erasing: float = 0.0
    """Share of the images of which a rectangle is erased."""
    mixup: float = 0.0
    """Mix each image and its label with another's, by a share from Beta(mixup, mixup); 0: no."""
    cutmix: float = 0.0
    """Paste a rectangle of another image, its area from Beta(cutmix, cutmix); with mixup, one of the two a batch."""
    crop_scale: float = 0.0
    """Least share of the area of the image that a random resized crop shows; 0: no such crop."""
    crop_ratio: float = STRETCH
    """Most by which width over height of such a crop differs from that of the image, as a factor."""
    rotation: float = 0.0
    """Most degrees by which an image is turned in either direction."""
    brightness: float = 0.0
    """Most by which the factor of an image's brightness differs from 1."""
    contrast: float = 0.0
    """Most by which the factor of its contrast differs from 1."""
    saturation: float = 0.0
    """Most by which the factor of its saturation differs from 1."""
    hue: float = 0.0
    """Most by which its hues are turned in either direction, as a share of the full circle."""
    trivialaugment: bool = False
    """Change each image by one random operation of random strength."""

    def __post_init__(self) -> None:
        for name, largest in LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value <= largest:
                bound = f" and at most {largest}" if largest < math.inf else ""
                raise UsageError(f"{name} must be at least 0{bound}, not {value}")
        if not 1 <= self.crop_ratio < math.inf:
            raise UsageError(f"crop_ratio must be at least 1, not {self.crop_ratio}")

    def distort(
        self, images: torch.Tensor, generator: torch.Generator, size: tuple[int, int] | None = None
    ) -> torch.Tensor:
        """Return the batch, uint8 as it is stored, cropped and resized, and changed in colours and shapes.

        Args:
            images: N x C x H x W, uint8.
            generator: Source of all draws.
            size: Height and width of random resized crops; None: those of the images.
        """
        if self.crop_scale:
            size = size or (images.shape[2], images.shape[3])
            images = resized_crops(images, self.crop_scale, size, generator, self.crop_ratio)
        if self.trivialaugment:
            from convwright.data.trivialaugment import trivialaugment  # here, since it imports torchvision

            images = trivialaugment(images, generator)
        if self.randaugment:
            from convwright.data.randaugment import randaugment  # here, since it imports torchvision

            images = randaugment(images, self.randaugment / MAGNITUDES, generator)
        if self.brightness or self.contrast or self.saturation or self.hue:
            images = jittered(images, self.brightness, self.contrast, self.saturation, self.hue, generator)
        return images

    def apply(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the batch turned, cropped, mirrored and erased by draws from ``generator`` alone.

        Padding and what is erased are zero: the data's mean colour where the images are normalised.
        """
        if self.rotation:
            degrees = (2 * torch.rand(len(images), generator=generator) - 1) * self.rotation
            images = mapped(images, rotations(degrees))
        if self.crop or self.flip:
            images = self._shift(images, generator)
        return _erase(images, self.erasing, generator) if self.erasing else images

    def mix(
        self, images: torch.Tensor, labels: torch.Tensor, classes: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images mixed with each other and labels N x classes, or both as they are if nothing is mixed.

        Labels may also be N x classes, or N x (classes + 1) with the weights of the images in the last column, which
        are mixed in the same proportion (`convwright.data.mixing.weighted`).
        """
        if not self.mixup and not self.cutmix:
            return images, labels
        both = self.mixup and self.cutmix
        paste = torch.rand((), generator=generator) < 0.5 if both else bool(self.cutmix)
        if paste:
            return cutmix(images, labels, classes, self.cutmix, generator)
        return mixup(images, labels, classes, self.mixup, generator)

    def _shift(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        count, _, height, width = images.shape
        if not self.crop:
            mirrored = torch.rand(count, 1, generator=generator) < 0.5
            return torch.where(mirrored[:, :, None, None].to(images.device), images.flip(3), images)
        rows = torch.arange(height).expand(count, height)
        columns = torch.arange(width).expand(count, width)
        images = F.pad(images, (self.crop,) * 4)
        down, right = torch.randint(2 * self.crop + 1, (2, count, 1), generator=generator)
        rows, columns = rows + down, columns + right
        if self.flip:
            mirrored = torch.rand(count, 1, generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        return _gather_pixels(images, rows.to(images.device), columns.to(images.device))


def _gather_pixels(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return the pixels of image i at ``rows[i]`` x ``columns[i]``, in every channel."""
    count, channels, _, width = images.shape
    positions = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    gathered = images.flatten(2).gather(2, positions[:, None].expand(-1, channels, -1))
    return gathered.view(count, channels, rows.shape[1], columns.shape[1])


def _erase(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Set a rectangle to zero in a share of the images."""
    count, _, height, width = images.shape
    chosen, area, ratio = torch.rand(3, count, generator=generator)
    area = height * width * (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0]))
    low, high = map(math.log, ERASED_RATIO)
    ratio = (low + ratio * (high - low)).exp()
    erased = rectangles((area * ratio).sqrt(), (area / ratio).sqrt(), (height, width), generator)
    erased &= (chosen < share)[:, None, None]
    return images.masked_fill(erased[:, None].to(images.device), 0)

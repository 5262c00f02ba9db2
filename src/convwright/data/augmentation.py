"""Augmentation of whole batches at once, each image by draws of its own, from one generator."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from convwright.data.mixing import cutmix, mixup, rectangles
from convwright.data.randaugment import MAGNITUDES, randaugment
from convwright.errors import UsageError

ERASED_AREA, ERASED_RATIO = (0.02, 1 / 3), (0.3, 3.3)
"""Least and largest share of an erased rectangle, and height over width (Zhong et al.: Random Erasing)."""


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

    def __post_init__(self) -> None:
        limits = {"crop": math.inf, "randaugment": MAGNITUDES, "erasing": 1, "mixup": math.inf, "cutmix": math.inf}
        for name, largest in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= largest:
                bound = f" and at most {largest}" if largest < math.inf else ""
                raise UsageError(f"{name} must be at least 0{bound}, not {value}")

    def distort(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the batch, uint8 as it is stored, changed in colours and shapes."""
        return randaugment(images, self.randaugment, generator) if self.randaugment else images

    def apply(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the batch cropped, mirrored and erased by draws from ``generator`` alone.

        Padding and what is erased are zero: the data's mean colour where the images are normalised.
        """
        if self.crop or self.flip:
            images = self._shift(images, generator)
        return _erase(images, self.erasing, generator) if self.erasing else images

    def mix(
        self, images: torch.Tensor, labels: torch.Tensor, classes: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images mixed with each other and labels N x classes, or both as they are if nothing is mixed."""
        if not self.mixup and not self.cutmix:
            return images, labels
        both = self.mixup and self.cutmix
        paste = torch.rand((), generator=generator) < 0.5 if both else bool(self.cutmix)
        if paste:
            return cutmix(images, labels, classes, self.cutmix, generator)
        return mixup(images, labels, classes, self.mixup, generator)

    def _shift(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        count, _, height, width = images.shape
        rows = torch.arange(height).expand(count, height)
        columns = torch.arange(width).expand(count, width)
        if self.crop:
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

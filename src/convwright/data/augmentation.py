"""Augmentation of whole batches at once, each image by draws of its own."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. The default varies nothing."""

    crop: int = 0
    """Pad by this many pixels on each side, then crop the former size at random; 0: no crop."""
    flip: bool = False
    """Mirror every other image, by chance."""

    def apply(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the batch varied by draws from ``generator`` alone.

        Padding is zero, so it is the data's mean colour where the images are normalised.
        """
        if not self.crop and not self.flip:
            return images
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
        return _pick(images, rows.to(images.device), columns.to(images.device))


def _pick(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return the pixels of image i at ``rows[i]`` x ``columns[i]``, in every channel."""
    count, channels, _, width = images.shape
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    picked = images.flatten(2).gather(2, places[:, None].expand(-1, channels, -1))
    return picked.view(count, channels, rows.shape[1], columns.shape[1])

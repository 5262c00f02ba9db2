"""mixup and CutMix: images mixed with each other, and their labels in the same proportion."""

import random

import torch


def mixup(
    images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each image with its neighbour in the batch, each pair by a share of its own (Zhang et al., 2018)."""
    share = _shares(len(images), alpha, generator)
    mixed = images.roll(1, 0).lerp(images, share[:, None, None, None].to(images))
    return mixed, _soft(labels, classes, share)


def cutmix(
    images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a rectangle of its neighbour into each image; labels go by the area (Yun et al., 2019)."""
    count, _, height, width = images.shape
    side = (1 - _shares(count, alpha, generator)).sqrt()
    inside = rectangles(side * height, side * width, (height, width), generator)
    mixed = torch.where(inside[:, None].to(images.device), images.roll(1, 0), images)
    return mixed, _soft(labels, classes, 1 - inside.float().mean((1, 2)))  # of what was pasted, cut at the border


def rectangles(
    heights: torch.Tensor, widths: torch.Tensor, size: tuple[int, int], generator: torch.Generator
) -> torch.Tensor:
    """Return N masks of a size with a rectangle each, its centre anywhere; it is cut off at the border."""
    centres = torch.rand(2, len(heights), 1, generator=generator)
    masks = []
    for centre, length, extent in zip(centres, (heights, widths), size, strict=True):
        start = (centre * extent - length[:, None] / 2).round()
        places = torch.arange(extent)
        masks.append((places >= start) & (places < start + length[:, None].round()))
    both: torch.Tensor = masks[0][:, :, None] & masks[1][:, None, :]
    return both


def _shares(count: int, alpha: float, generator: torch.Generator) -> torch.Tensor:
    """Draw from Beta(alpha, alpha). Torch cannot draw from it with a generator."""
    draws = random.Random(int(torch.randint(2**62, (), generator=generator)))
    return torch.tensor([draws.betavariate(alpha, alpha) for _ in range(count)])


def _soft(labels: torch.Tensor, classes: int, share: torch.Tensor) -> torch.Tensor:
    """Return N x classes: the share of each image's own label, and the rest of its neighbour's.

    Several labels of an image, and its weight, are mixed column by column.
    """
    own = torch.nn.functional.one_hot(labels, classes) if labels.ndim == 1 else labels
    own = own.float()
    return own.roll(1, 0).lerp(own, share[:, None])


def weighted(labels: torch.Tensor, weights: torch.Tensor, classes: int) -> torch.Tensor:
    """Return labels N x (classes + 1): the share of each class, and the weight of the image in the last column.

    Args:
        labels: int64 N, or N x classes.
        weights: Weight of each image in the loss, N.
        classes: Number of classes.
    """
    shares = torch.nn.functional.one_hot(labels, classes) if labels.ndim == 1 else labels
    return torch.cat((shares.float(), weights.float()[:, None]), 1)

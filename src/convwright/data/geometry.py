"""Random resized crops and affine maps of batches, each image by numbers of its own."""

import math

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

STRETCH = 4 / 3
"""Largest stretch of a crop, as Szegedy et al. have it: its proportions are 3/4 to 4/3 of those of the result."""
TRIES = 10
"""Crops that are drawn for an image; where none of them fits into it, the whole image is taken."""
CHUNK = 2**18
"""Values of a batch that are mapped at a time on a CPU: they stay in its cache."""


def resized_crops(
    images: torch.Tensor,
    smallest: float,
    size: tuple[int, int],
    generator: torch.Generator,
    stretch: float = STRETCH,
) -> torch.Tensor:
    """Return a random part of each image, resized to a size (Szegedy et al. 2015, section 6).

    Args:
        images: N x C x H x W, uint8.
        smallest: Least share of the image's area that a part has, at most 1.
        size: Height and width of the result.
        generator: Source of the draws.
        stretch: Most by which width over height of a part differs from that of the result, as a factor.
    """
    boxes = crop_boxes(len(images), images.shape[2:], smallest, size, generator, stretch)
    resized = images.new_empty(len(images), images.shape[1], *size)
    for index, (top, left, height, width) in enumerate(boxes.tolist()):
        part = images[index : index + 1, :, top : top + height, left : left + width]
        if (height, width) != size:
            # Torch resizes bytes on a CPU only.
            exact = part if images.device.type == "cpu" else part.float()
            part = interpolate(exact, size=size, mode="bilinear", antialias=True, align_corners=False)
            part = part.round_().clamp_(0, 255) if part.is_floating_point() else part
        resized[index] = part[0]
    return resized


def crop_boxes(
    count: int,
    extent: tuple[int, ...],
    smallest: float,
    size: tuple[int, int],
    generator: torch.Generator,
    stretch: float = STRETCH,
) -> torch.Tensor:
    """Return a box of each of so many images: count x (top, left, height, width), int64.

    Args:
        count: Number of images.
        extent: Their height and width.
        smallest: Least share of the image's area.
        size: Height and width that the boxes are resized to, which their aspect ratio is relative to.
        generator: Source of the draws.
        stretch: Most by which their aspect ratio differs from that, as a factor.
    """
    high, wide = extent
    area, ratio = torch.rand(2, TRIES, count, generator=generator)
    area = high * wide * (smallest + area * (1 - smallest))
    ratio = ((2 * ratio - 1) * math.log(stretch)).exp() * size[1] / size[0]
    heights, widths = (area / ratio).sqrt().round().clamp(min=1), (area * ratio).sqrt().round().clamp(min=1)
    fits = (heights <= high) & (widths <= wide)
    first = fits.int().argmax(0)  # 0 where none fits
    none, columns = ~fits.any(0), torch.arange(count)
    heights = torch.where(none, float(high), heights[first, columns])
    widths = torch.where(none, float(wide), widths[first, columns])
    down, right = torch.rand(2, count, generator=generator)
    tops, lefts = (down * (high - heights + 1)).floor(), (right * (wide - widths + 1)).floor()
    return torch.stack((tops.clamp(max=high - 1), lefts.clamp(max=wide - 1), heights, widths), 1).long()


def rotations(degrees: torch.Tensor) -> torch.Tensor:
    """Return matrices N x 2 x 2 of rotations, for `mapped`; positive degrees turn anticlockwise."""
    angles = degrees * (math.pi / 180)
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack((cosine, -sine, sine, cosine), 1).view(-1, 2, 2)


def mapped(
    images: torch.Tensor, matrices: torch.Tensor, moves: torch.Tensor | None = None, *, nearest: bool = False
) -> torch.Tensor:
    """Return images under affine maps about their centres. What was outside of an image is 0.

    Args:
        images: N x C x H x W, float or uint8.
        matrices: N x 2 x 2: from a place in the result to one in the image, (x, y) in pixels from the centre.
        moves: N x 2: pixels (x, y) added to the place in the image; None: none.
        nearest: Whether the nearest pixel is taken; by default pixels are interpolated.
    """
    height, width = images.shape[2:]
    moves = torch.zeros(len(images), 2) if moves is None else moves
    # Torch's places go from -1 to 1 in each direction.
    half = torch.tensor([width / 2, height / 2])
    theta = torch.cat((matrices * half / half[:, None], (moves / half)[:, :, None]), 2).to(images.device)
    result = torch.empty_like(images)
    few = max(1, CHUNK // max(1, images[:1].numel())) if images.device.type == "cpu" else len(images)
    for part, some, target in zip(images.split(few), theta.split(few), result.split(few), strict=True):
        grid = affine_grid(some, list(part.shape), align_corners=False)
        found = grid_sample(
            part.float(), grid, mode="nearest" if nearest else "bilinear", padding_mode="zeros", align_corners=False
        )
        target.copy_(found if images.is_floating_point() else found.round_())
    return result

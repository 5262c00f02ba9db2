"""Images altered so that they show nothing known: stand-ins for unknown images, made of held-out ones."""

import torch

from convwright.seeds import derive

FEWEST_PIXELS = 4
"""Images with a side below this are not altered."""
QUARTERS = ((1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0), (1, 2, 3, 0), (3, 0, 1, 2))
"""Orders in which no quarter of an image keeps its place."""


def altered_images(images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return altered images by kind; see `convwright.stats.ood_selection`.

    Args:
        images: N x C x H x W, uint8.
        labels: Their classes, N; two images that are mixed are of different classes where no class has the majority.

    Returns:
        Images of the same shape, of each kind; none of images of few pixels.
    """
    count, _, height, width = images.shape
    if min(height, width) < FEWEST_PIXELS or not count:
        return {}
    generator = torch.Generator().manual_seed(derive(0, "ood-altered"))
    order = labels.argsort(stable=True)
    others = torch.empty_like(images)
    others[order] = images[order.roll(count // 2)]
    pixels = torch.randperm(height * width, generator=generator)
    middle = width // 2
    return {
        "quarters": _quarters(images, torch.randint(len(QUARTERS), (count,), generator=generator)),
        "turned": _turned(images, torch.randint(1, 4, (count,), generator=generator)),
        "mixed": ((images.int() + others.int()) // 2).to(torch.uint8),
        "halves": torch.cat([images[..., :middle], others[..., middle:]], 3),
        "inverted": 255 - images,
        "shuffled": images.flatten(2)[:, :, pixels].reshape(images.shape),
        "noise": torch.randint(256, images.shape, generator=generator, dtype=torch.uint8),
    }


def _quarters(images: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Return images with their quarters in another order; of an odd side, the last row or column stays."""
    height, width = (side // 2 for side in images.shape[2:])
    places = [(top, left) for top in (0, height) for left in (0, width)]
    changed = images.clone()
    for number, order in enumerate(QUARTERS):
        rows = (orders == number).nonzero()[:, 0]
        for (top, left), source in zip(places, order, strict=True):
            above, before = places[source]
            part = images[rows, :, above : above + height, before : before + width]
            changed[rows, :, top : top + height, left : left + width] = part
    return changed


def _turned(images: torch.Tensor, quarters: torch.Tensor) -> torch.Tensor:
    """Return images turned by quarters of a circle; images that are not square upside down."""
    square = images.shape[2] == images.shape[3]
    changed = images.flip(2, 3)
    for quarter in (1, 3):
        if square:
            rows = quarters == quarter
            changed[rows] = images[rows].rot90(quarter, (2, 3))
    return changed

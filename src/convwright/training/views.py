"""Test-time augmentation: the views of an image over which a network's probabilities are averaged."""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from convwright.errors import UsageError
from convwright.training.config import Recipe


@dataclass(frozen=True)
class View:
    """One way to look at an image: moved by whole pixels (negative: up, left), then mirrored or not."""

    mirrored: bool = False
    down: int = 0
    right: int = 0

    def of(self, images: torch.Tensor) -> torch.Tensor:
        """Return normalised images, N x C x H x W, shifted and mirrored. Pixels shifted in are zero.

        Raises:
            UsageError: The images are no larger than the move, so that nothing of them is left.
        """
        height, width = images.shape[2:]
        if abs(self.down) >= height or abs(self.right) >= width:
            raise UsageError(
                f"a shift of {self} moves images of {height} x {width} pixels out of view; use larger ones"
            )
        if self.down or self.right:  # a negative pad takes away what leaves on the other side
            images = pad(images, (self.right, -self.right, self.down, -self.down))
        return images.flip(-1) if self.mirrored else images

    def __str__(self) -> str:
        moves = [
            f"{abs(pixels)} px {after if pixels > 0 else before}"
            for pixels, before, after in ((self.down, "up", "down"), (self.right, "left", "right"))
            if pixels
        ]
        return " ".join([*moves, *(["mirrored"] if self.mirrored else [])]) or "as it is"


AS_IT_IS = (View(),)
"""No augmentation: the image itself."""


def views_of(recipe: Recipe, resolution: int) -> tuple[View, ...]:
    """Return the views that a recipe's network has learnt to see.

    The image, and the image moved up, down, left and right by half the padding of the recipe's random crops; each
    of these also mirrored if training images were, which the recipe says and the data's nature decided.

    Args:
        recipe: Its crop and flip.
        resolution: Shorter side of the images in pixels. A move of this length or more would show nothing, and is no
            view.
    """
    step = (recipe.crop + 1) // 2
    moves = [(0, 0)]
    if 0 < step < resolution:
        moves += [(-step, 0), (step, 0), (0, -step), (0, step)]
    sides = (False, True) if recipe.flip else (False,)
    return tuple(View(mirrored, down, right) for down, right in moves for mirrored in sides)

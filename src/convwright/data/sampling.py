"""Order of the images of an epoch: a function of seed and epoch, so that a resumed run sees the same images."""

from typing import Literal

import torch

from convwright.seeds import derive

Sampling = Literal["uniform", "balanced"]


def epoch_order(labels: torch.Tensor, seed: int, epoch: int, sampling: Sampling = "uniform") -> torch.Tensor:
    """Return the positions of the images of an epoch, in order; as many as there are labels.

    Args:
        labels: int64 N, or bool N x K for images with several labels.
        seed: Seed of the run.
        epoch: Number of the epoch.
        sampling: `uniform`: each image once. `balanced`: each class equally often, as far as the number of images can
            be divided. A class repeats its images as often as necessary; no image is repeated again before all
            others of its class have been repeated as often. Of a class with more images than its share, other images
            are drawn in each epoch. Images without labels count as one more class.
    """
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    if sampling == "uniform":
        return torch.randperm(len(labels), generator=generator)
    members = _members(labels)
    each, rest = divmod(len(labels), len(members))
    shares = torch.full((len(members),), each)
    shares[torch.randperm(len(members), generator=generator)[:rest]] += 1
    drawn = [_draw(some, share, generator) for some, share in zip(members, shares.tolist(), strict=True)]
    return torch.cat(drawn)[torch.randperm(len(labels), generator=generator)]


def _members(labels: torch.Tensor) -> list[torch.Tensor]:
    """Return the positions of the images of each class that has any."""
    if labels.ndim == 1:
        positions, classes = torch.arange(len(labels)), labels
    else:
        none = ~labels.any(1, keepdim=True)
        positions, classes = torch.cat([labels, none], 1).nonzero(as_tuple=True)
    order = torch.argsort(classes, stable=True)
    counts = torch.bincount(classes)
    return list(positions[order].split(counts[counts > 0].tolist()))


def _draw(positions: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Return so many of the positions at random, each as often as another or once more."""
    rounds = [torch.randperm(len(positions), generator=generator) for _ in range(-(-count // len(positions)))]
    return positions[torch.cat(rounds)[:count]] if rounds else positions[:0]

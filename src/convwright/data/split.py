"""Stratified splits, which depend on seed and labels only."""

import torch

from convwright.seeds import derive


def stratified_split(
    labels: torch.Tensor, share: float, seed: int, purpose: str = "validation"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows to keep and the rows to hold out, each ascending.

    A share of each class is held out, rounded, at least one sample; at least one is kept.
    """
    generator = torch.Generator().manual_seed(derive(seed, purpose))
    shuffled = torch.randperm(len(labels), generator=generator)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        if len(rows) < 2:
            raise ValueError(f"class {int(label)} has one sample, which cannot be in both parts")
        held[rows[: min(max(round(share * len(rows)), 1), len(rows) - 1)]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()

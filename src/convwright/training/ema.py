"""The moving average of a network's weights, which often does better than the weights themselves."""

import copy

import torch
from torch import nn


class Average:
    """Exponential moving average of weights and of normalisation statistics.

    Statistics are averaged along, since those of the last weights do not belong to the average. Early on the decay
    is lower, (1 + n) / (10 + n) after n steps, so that a short run does not average its random start in.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's weights after step number `step` (from 0)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, share)
            else:
                mine.copy_(theirs)

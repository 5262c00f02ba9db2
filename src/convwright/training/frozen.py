"""A frozen backbone: only the classifier learns, from features that are computed once."""

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import nn

from convwright.data import Augmentation, Dataset, Split, evaluation_batches
from convwright.data.memory import check_fits
from convwright.finite import check_finite
from convwright.modules.combinators import FullyConnected
from convwright.training.config import Recipe

BATCH = 16
"""Few images stay in the processor's cache, which is half as fast again as 256 at a time."""
FLOAT = 4


def split(module: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a built network before its last linear layer, and the dropout before that, into two that share its weights.

    The first maps images to features, the second features (N x C x 1 x 1) to N x classes.
    """
    *body, head = module.children()
    parts = list(head.children())
    cut = max(index for index, part in enumerate(parts) if isinstance(part, FullyConnected))
    while cut and isinstance(parts[cut - 1], nn.Dropout):
        cut -= 1
    return nn.Sequential(*body, *parts[:cut]), nn.Sequential(*parts[cut:], nn.Flatten(1))


def can_keep_features(recipe: Recipe) -> bool:
    """Does every epoch show a frozen backbone the same images?"""
    asked = recipe.model_dump(include={each.name for each in fields(Augmentation)})
    return recipe.freeze and Augmentation(**asked) == Augmentation() and not recipe.progressive


class Features(Dataset):
    """A data set whose images are a backbone's features: floats, N x C x 1 x 1."""

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Features are read as they are."""
        return images


def features_of(
    backbone: nn.Module, data: Dataset, device: torch.device, after_batch: Callable[[int, int], None] | None = None
) -> Features:
    """Run a backbone, in evaluation mode, over the images to train and to validate on.

    after_batch is told how many images are done, and of how many. DataError if the features do not fit into memory.
    """
    backbone.eval()
    total, done = len(data.train) + len(data.val), 0
    outputs = []
    for part in (data.train, data.val):
        stored: torch.Tensor | None = None
        start = 0
        for images, _ in evaluation_batches(part, data, BATCH):
            with torch.no_grad():
                found = backbone(images.to(device).contiguous(memory_format=torch.channels_last)).float().cpu()
            check_finite(found, "the frozen backbone")
            if stored is None:
                check_fits(total, found[0].numel() * FLOAT, 1)
                stored = torch.empty(len(part), *found.shape[1:])
            stored[start : start + len(found)] = found
            start += len(found)
            done += len(found)
            if after_batch:
                after_batch(done, total)
        outputs.append(Split(stored if stored is not None else torch.empty(0), part.labels))
    told = {each.name: getattr(data, each.name) for each in fields(Dataset)}
    return replace(Features(**told), train=outputs[0], val=outputs[1])

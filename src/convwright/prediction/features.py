"""Features that the last linear layer of a network in torch reads, beside its logits."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from convwright.data import Split
from convwright.stats.limits import energy
from convwright.stats.ood import OodModel, fit_ood
from convwright.training.evaluation import batch_for

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor

MOST_TRAINING = 2000
"""Most training images that an out-of-distribution score is fitted on."""


@torch.no_grad()
def features_and_logits(predictor: "Predictor", images: torch.Tensor) -> tuple[np.ndarray | None, np.ndarray]:
    """Return what the last linear layer reads, and the logits of one batch.

    Args:
        predictor: The network.
        images: N x C x H x W, uint8.

    Returns:
        Features, N x p, None where the logits are not the output of a linear layer; and logits, N x classes.

    Raises:
        NotFiniteError: A logit is NaN or infinite.
    """
    layers = [part for part in predictor.module.modules() if isinstance(part, nn.Linear)]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append((inputs[0].flatten(1).float(), output.flatten(1).float()))

    handle = layers[-1].register_forward_hook(record) if layers else None
    try:
        logits = predictor.logits(images)
    finally:
        if handle is not None:
            handle.remove()
    if len(seen) != 1 or not torch.equal(seen[0][1], logits):
        return None, logits.cpu().numpy()
    return seen[0][0].cpu().numpy(), logits.cpu().numpy()


def all_features(predictor: "Predictor", images: torch.Tensor | Split) -> tuple[np.ndarray | None, np.ndarray]:
    """Return features and logits of any number of images, in batches; see `features_and_logits`."""
    rows = torch.arange(len(images)).split(batch_for(predictor.network))
    read = images.take if isinstance(images, Split) else images.__getitem__
    parts = [features_and_logits(predictor, read(some)) for some in rows]
    features = [found for found, _ in parts if found is not None]
    return (np.concatenate(features) if len(features) == len(parts) else None), np.concatenate(
        [one for _, one in parts]
    )


def fitted_ood(
    predictor: "Predictor",
    training: tuple[torch.Tensor | Split, np.ndarray],
    held: tuple[np.ndarray | None, np.ndarray],
) -> OodModel | None:
    """Fit the out-of-distribution score of a network.

    Args:
        predictor: The network.
        training: Training images, a split or N x C x H x W, uint8, and their classes.
        held: Features and logits of held-out images.

    Returns:
        The fitted score; None where there are no features or too few images.
    """
    held_features, held_logits = held
    images, labels = training
    if held_features is None or not len(images):
        return None
    features, _ = all_features(predictor, images)
    return None if features is None else fit_ood(features, labels, held_features, energy(held_logits))

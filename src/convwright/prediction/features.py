"""Features of a network in torch that its out-of-distribution score is computed from, beside its logits."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from convwright.data import Split
from convwright.prediction.altered import altered_images
from convwright.seeds import derive
from convwright.stats.ood import OodModel, features_of_maps, fit_ood
from convwright.stats.ood_selection import Seen, choose_rule
from convwright.training.evaluation import batch_for

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor

MOST_TRAINING = 2000
"""Most training images that an out-of-distribution score is fitted on."""
MOST_ALTERED = 200
"""Most held-out images that are altered to choose the score."""


@torch.no_grad()
def features_and_logits(predictor: "Predictor", images: torch.Tensor) -> tuple[np.ndarray | None, np.ndarray]:
    """Return features and logits of one batch.

    Args:
        predictor: The network.
        images: N x C x H x W, uint8.

    Returns:
        Mean and standard deviation of the last feature maps, N x 2C, where the network ends in global pooling and one
        linear layer; what its last linear layer reads, N x p, where it ends otherwise; None where the logits are not
        the output of a linear layer. And logits, N x classes.

    Raises:
        NotFiniteError: A logit is NaN or infinite.
    """
    linear, pooling = (_last(predictor.module, kind) for kind in (nn.Linear, nn.AdaptiveAvgPool2d))
    seen: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def record(part: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[part] = inputs[0], output

    handles = [part.register_forward_hook(record) for part in (linear, pooling) if part is not None]
    try:
        logits = predictor.logits(images)
    finally:
        for handle in handles:
            handle.remove()
    if linear is None or linear not in seen or not torch.equal(seen[linear][1].flatten(1).float(), logits):
        return None, logits.cpu().numpy()
    read = seen[linear][0].flatten(1)
    maps, pooled = (read, read) if pooling is None else seen.get(pooling, (read, read))
    if maps.ndim == 4 and maps[0, 0].numel() > 1 and torch.equal(pooled.flatten(1), read):
        return features_of_maps(maps.float().cpu().numpy()), logits.cpu().numpy()
    return read.float().cpu().numpy(), logits.cpu().numpy()


def _last(module: nn.Module, kind: type[nn.Module]) -> nn.Module | None:
    return next((part for part in reversed([*module.modules()]) if isinstance(part, kind)), None)


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
    predictor: "Predictor", training: torch.Tensor | Split, labels: np.ndarray, held: torch.Tensor | Split, seen: Seen
) -> OodModel | None:
    """Fit the out-of-distribution score of a network, and choose what it is.

    Args:
        predictor: The network.
        training: Training images, a split or N x C x H x W, uint8.
        labels: Their classes.
        held: Held-out images.
        seen: What the network makes of the held-out images.

    Returns:
        The fitted score; None where there are no features or too few images.
    """
    if not len(training):
        return None
    features, logits = all_features(predictor, training)
    if features is None or (model := fit_ood(features, labels)) is None:
        return None
    some = torch.randperm(len(held), generator=torch.Generator().manual_seed(derive(0, "ood-held")))[:MOST_ALTERED]
    images = held.take(some) if isinstance(held, Split) else held[some]
    outliers = {}
    for kind, altered in altered_images(images, torch.from_numpy(seen.labels)[some]).items():
        found, their_logits = all_features(predictor, altered)
        if found is not None:
            outliers[kind] = Seen(found, their_logits)
    return choose_rule(model, Seen(features, logits, labels), seen, outliers)

"""Accuracy, or mean average precision, and loss of a network on a split of its data, as training measures them."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.errors import NotFiniteError
from convwright.finite import check_finite
from convwright.stats.average_precision import RankedScores, best_thresholds, mean_over_classes
from convwright.stats.intervals import wilson
from convwright.training.views import AS_IT_IS, View

LARGEST_BATCH = 64
"""With larger batches torch returns memory to the system between layers and requests it again, on a CPU."""
ACTIVATION_BYTES = 2**29
"""Most memory that the activations of a batch may take."""


@dataclass(frozen=True)
class SplitAccuracy:
    """Accuracy (0 to 1) and mean cross-entropy over a number of images."""

    accuracy: float
    loss: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return wilson(round(self.accuracy * self.images), self.images)


@dataclass(frozen=True)
class SplitPrecision:
    """Mean average precision (0 to 1) and mean binary cross-entropy of a multi-label network over images.

    The cross-entropy of an image is the sum over classes.
    """

    precision: float
    loss: float
    images: int
    thresholds: tuple[float, ...]
    """For each class the threshold of highest F1 on these images."""


def batch_for(network: Network) -> int:
    """Return how many images to evaluate at once: where training fits into memory, this does."""
    return max(1, min(LARGEST_BATCH, ACTIVATION_BYTES // cost(network).peak_bytes()))


def evaluate(
    module: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device | str = "cpu",
    *,
    after_batch: Callable[[int], None] | None = None,
) -> SplitAccuracy:
    """Run a module over batches (images N x C x H x W, labels N) in evaluation mode.

    `after_batch` is called with the number of images of each finished batch. The mode of each part of the module is
    restored.
    """
    correct, loss, images = 0, 0.0, 0
    with closing(outputs(module, batches, device)) as results:
        for logits, labels in results:
            loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            correct += int((logits.argmax(1) == labels).sum())
            images += len(labels)
            if after_batch:
                after_batch(len(labels))
    _check_loss(loss, images)
    return SplitAccuracy(correct / images, loss / images, images)


def evaluate_multi_label(
    module: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device | str = "cpu",
    *,
    after_batch: Callable[[int], None] | None = None,
) -> SplitPrecision:
    """Run a multi-label module over batches in evaluation mode; see `evaluate`.

    Args:
        module: The module.
        batches: Images N x C x H x W, and labels N x K, bool.
        device: Where the module is.
        after_batch: Called with the number of images of each finished batch.
    """
    loss, images = 0.0, 0
    scores: list[torch.Tensor] = []
    truths: list[torch.Tensor] = []
    with closing(outputs(module, batches, device)) as results:
        for logits, labels in results:
            loss += multi_label_loss(logits, labels).sum().item()
            scores.append(logits.cpu())
            truths.append(labels.cpu())
            images += len(labels)
            if after_batch:
                after_batch(len(labels))
    _check_loss(loss, images)
    every, truth = torch.cat(scores).double(), torch.cat(truths).numpy()
    precision = float(mean_over_classes(RankedScores(every.numpy(), truth).average_precisions()))
    return SplitPrecision(precision, loss / images, images, best_thresholds(every.sigmoid().numpy(), truth))


def multi_label_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of each image, N: the sum over classes."""
    return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").sum(1)


def _check_loss(loss: float, images: int) -> None:
    if not math.isfinite(loss):
        raise NotFiniteError(f"the loss over {images} images is {loss}; the network's outputs are too large")


@torch.no_grad()
def outputs(
    module: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device | str = "cpu",
    views: Sequence[View] = AS_IT_IS,
    source: object = "the network",
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """Yield (logits, labels) of each batch, in evaluation mode, which ends when the generator is closed.

    With several test-time augmentation views, the logits are the logarithms of their mean probabilities.
    NotFiniteError if a logit is NaN or infinite; `source` is the network's name in its message.
    """
    with evaluating(module):
        for images, labels in batches:
            yield averaged(module, images.to(device), views, source), labels.to(device)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def averaged(
    module: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    views: Sequence[View],
    source: object = "the network",
    *,
    multi_label: bool = False,
) -> torch.Tensor:
    """Return a module's float32 logits for normalised images, their probabilities averaged over the views.

    Probabilities are the softmax of logits; of a multi-label module, their sigmoid.
    """
    logits: list[torch.Tensor] = [check_finite(module(view.of(images)).float(), source) for view in views]
    if len(views) == 1:
        return logits[0]
    if multi_label:
        return _mean_odds(torch.stack(logits))
    # In logarithms, so that the least likely classes keep a finite loss.
    seen = torch.stack([one.log_softmax(1) for one in logits])
    return seen.logsumexp(0) - math.log(len(views))


def _mean_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits of the mean sigmoid over the first axis, computed in logarithms."""
    for_class, against = nn.functional.logsigmoid(logits).logsumexp(0), nn.functional.logsigmoid(-logits).logsumexp(0)
    return for_class - against

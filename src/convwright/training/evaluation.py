"""Accuracy and loss of a network on a split of its data, as training measures them."""

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
    if not math.isfinite(loss):
        raise NotFiniteError(f"the loss over {images} images is {loss}; the network's outputs are too large")
    return SplitAccuracy(correct / images, loss / images, images)


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
    module: nn.Module, images: torch.Tensor, views: Sequence[View], source: object = "the network"
) -> torch.Tensor:
    """Return a module's float32 logits for normalised images, their probabilities averaged over the views."""
    logits: list[torch.Tensor] = [check_finite(module(view.of(images)).float(), source) for view in views]
    if len(views) == 1:
        return logits[0]
    # In logarithms, so that the least likely classes keep a finite loss.
    seen = torch.stack([one.log_softmax(1) for one in logits])
    return seen.logsumexp(0) - math.log(len(views))

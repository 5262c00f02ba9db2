"""Images drawn from data, and converted to the input of each network."""

import torch

from convwright.data import Dataset, Split
from convwright.data.sources import resized
from convwright.evaluation.assessment import in_channels
from convwright.prediction.network import Predictor
from convwright.seeds import derive


def held_out(data: Dataset) -> tuple[str, Split]:
    """Return the name and the images of the test split, or else of the validation split, or else all images."""
    if data.test is not None:
        return "test", data.test
    return ("val", data.val) if len(data.val) else ("all", data.train)


def chosen(split: Split, count: int, seed: int = 0) -> Split:
    """Draw images from a split by seed, the classes in turn, so that few images show many classes.

    An image with several labels is drawn for the rarest of its classes.
    """
    shuffled = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive(seed, "explained images")))
    labels = single_labels(split.labels)[shuffled]
    turn = torch.empty(len(split), dtype=torch.int64)
    for label in torch.unique(labels):
        of_class = (labels == label).nonzero().flatten()
        turn[of_class] = torch.arange(len(of_class))
    order = (turn * (int(labels.max()) + 1) + labels).argsort()
    return split.choose(shuffled[order[:count]])


def single_labels(labels: torch.Tensor) -> torch.Tensor:
    """Return one class for each image, int64 N.

    Of several labels, it is the class with the fewest images; an image without labels counts as one more class.

    Args:
        labels: int64 N, or bool N x classes.
    """
    if labels.ndim == 1:
        return labels
    counts = labels.sum(0)
    ranked = torch.where(labels, counts, len(labels) + 1)
    return torch.where(labels.any(1), ranked.argmin(1), labels.shape[1])


def as_read(predictor: Predictor, split: Split) -> list[torch.Tensor]:
    """Return a source's images as the network reads them: in its channels and at its resolution."""
    fitting = in_channels(split, predictor.network.channels)
    return list(resized(fitting, predictor.network.resolution, predictor.framing).images)

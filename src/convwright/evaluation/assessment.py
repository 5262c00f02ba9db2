"""A predictor measured on splits of a data set, whose classes are matched with the network's by name."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from convwright.data import Dataset, Split
from convwright.errors import DataError
from convwright.evaluation.measures import Measures, Tally
from convwright.evaluation.multi_label import MultiLabelMeasures, MultiLabelTally
from convwright.prediction.network import Predictor
from convwright.printable import printable
from convwright.training.allocator import kept_memory
from convwright.training.evaluation import batch_for, evaluating
from convwright.training.views import AS_IT_IS, View

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow turns colours to grey
CHUNK = 1024


def assess(
    predictor: Predictor,
    data: Dataset,
    parts: Sequence[Split],
    *,
    views: Sequence[View] = AS_IT_IS,
    after_batch: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
) -> Measures:
    """Measure a network on some splits of a data set, whose classes are matched by their names.

    Args:
        predictor: The network; each part of its module keeps its mode.
        data: The data set.
        parts: Splits of the data set.
        views: Test-time augmentation views, over which probabilities are averaged.
        after_batch: Called after each batch with the logits and the labels, in the network's order of classes.

    Raises:
        DataError: The data has a class that the network has not.
        NotFiniteError: A logit is NaN or infinite.
    """
    check_one_label(predictor, data)
    tally = Tally(len(predictor.classes))
    _assess(tally, predictor, data, parts, views, after_batch)
    return tally.measures()


def assess_multi_label(
    predictor: Predictor,
    data: Dataset,
    parts: Sequence[Split],
    *,
    views: Sequence[View] = AS_IT_IS,
    after_batch: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
) -> MultiLabelMeasures:
    """Measure a multi-label network on some splits of a data set; see `assess`.

    Of an image with one label, every other class counts as absent.
    """
    if predictor.thresholds is None:
        raise DataError(_wrong_labels(predictor, data))
    tally = MultiLabelTally(predictor.thresholds)
    _assess(tally, predictor, data, parts, views, after_batch)
    return tally.measures()


def check_labels(predictor: Predictor, data: Dataset) -> None:
    """Check that a network can be measured on the labels of a data set.

    Raises:
        DataError: The network predicts one class for each image, and the data has any number of labels.
    """
    if data.multi_label and not predictor.multi_label:
        raise DataError(_wrong_labels(predictor, data))


def check_one_label(predictor: Predictor, data: Dataset) -> None:
    """Check that a network and a data set have one label for each image.

    Raises:
        DataError: One of them has any number of labels.
    """
    if predictor.multi_label or data.multi_label:
        raise DataError(_wrong_labels(predictor, data))


def _wrong_labels(predictor: Predictor, data: Dataset) -> str:
    kinds = {False: "single-label", True: "multi-label"}
    if predictor.multi_label is data.multi_label:
        return f"this needs a single-label network, and {predictor.network.name} is multi-label"
    trained, found = kinds[predictor.multi_label], kinds[data.multi_label]
    return f"{printable(data.name)} is {found} data, and the network is {trained}; give data of the same kind"


def _assess(
    tally: Tally | MultiLabelTally,
    predictor: Predictor,
    data: Dataset,
    parts: Sequence[Split],
    views: Sequence[View],
    after_batch: Callable[[torch.Tensor, torch.Tensor], None] | None,
) -> None:
    order = class_order(data.classes, predictor.classes, data.name)
    with kept_memory(), evaluating(predictor.module):
        for images, given in batches_of(predictor, parts):
            logits = predictor.calibrated_logits(images, views)
            labels = labels_in(order, given, len(predictor.classes))
            if predictor.multi_label and labels.ndim == 1:
                labels = torch.nn.functional.one_hot(labels, len(predictor.classes)).bool()
            tally.add(logits, labels)
            if after_batch:
                after_batch(logits, labels)


def labels_in(order: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return labels of a data set in a network's order of classes.

    Args:
        order: The index among the network's classes of each class of the data set.
        labels: int64 N, or bool with a column for each class of the data set.
        classes: Number of classes of the network.
    """
    if labels.ndim == 1:
        return order[labels]
    found = torch.zeros(len(labels), classes, dtype=torch.bool)
    found[:, order] = labels
    return found


def class_order(given: Sequence[str], known: Sequence[str], name: str) -> torch.Tensor:
    """Match the classes of a data set with those of a network by their names; the data may lack some.

    Args:
        given: Classes of the data set.
        known: Classes of the network.
        name: Name of the data set, for the message.

    Returns:
        For each given class, its index among the known ones, int64.

    Raises:
        DataError: The data set has other classes.
    """
    places = {item: index for index, item in enumerate(known)}
    if unknown := [item for item in given if item not in places]:
        raise DataError(
            f"{printable(name)} has classes that the network was not trained on ({_few(unknown)}); "
            f"its {len(known)} classes are {_few(list(known))}"
        )
    return torch.tensor([places[item] for item in given], dtype=torch.int64)


def _few(names: list[str]) -> str:
    return ", ".join(map(printable, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def batches_of(predictor: Predictor, parts: Sequence[Split]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the images of splits in order, uint8 in the network's channels, and their labels.

    Args:
        predictor: The network, whose cost determines the batch size.
        parts: The splits.
    """
    size = batch_for(predictor.network)
    for part in parts:
        for rows in torch.arange(len(part)).split(size):
            yield with_channels(part.take(rows), predictor.channels), part.labels[rows]


def in_channels(part: Split, channels: int) -> Split:
    """Return a split with its images in 1 (grey) or 3 channels."""
    if part.channels == channels:
        return part
    pixels = torch.cat([with_channels(some, channels) for some in part.images.split(CHUNK)])
    return replace(part, store=pixels, rows=None, known=None, larger=None)


def with_channels(images: torch.Tensor, channels: int) -> torch.Tensor:
    """Return uint8 images, N x C x H x W, in 1 (grey) or 3 channels."""
    if images.shape[1] == channels:
        return images
    if channels == 1:
        weights = torch.tensor(LUMA).view(1, 3, 1, 1)
        return (images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    return images.expand(-1, channels, -1, -1)

"""A trained network measured on a data set, its own or another one with the same classes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import torch

from convwright.data import Dataset, Split, evaluation_batches
from convwright.data.images import printable
from convwright.errors import DataError
from convwright.evaluation.measures import Measures, Tally
from convwright.prediction.network import Predictor
from convwright.training.evaluation import batch_for, outputs
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

    after_batch is given the logits and the labels (in the network's order of classes) of each batch done.
    Raises DataError if the data lacks a class of the network's, or has others.
    """
    order = class_order(data.classes, predictor.classes, data.name)
    tally = Tally(len(predictor.classes))
    batches = batches_of(predictor, data, parts)
    with closing(outputs(predictor.module, batches, predictor.device, views, predictor.source)) as results:
        for logits, labels in results:
            labels = order[labels.cpu()]
            tally.add(logits, labels)
            if after_batch:
                after_batch(logits, labels)
    return tally.measures()


def class_order(given: Sequence[str], known: Sequence[str], name: str) -> torch.Tensor:
    """Return, for each given class, its index among the known ones. DataError names those that do not match."""
    missing, unknown = [item for item in known if item not in given], [item for item in given if item not in known]
    told = [f"lacks {_few(missing)}"] * bool(missing) + [f"has also {_few(unknown)}"] * bool(unknown)
    if told:
        raise DataError(
            f"{printable(name)} does not have the {len(known)} classes that the network was trained on: "
            f"it {' and '.join(told)}"
        )
    places = {item: index for index, item in enumerate(known)}
    return torch.tensor([places[item] for item in given], dtype=torch.int64)


def _few(names: list[str]) -> str:
    return ", ".join(map(printable, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def batches_of(
    predictor: Predictor, data: Dataset, parts: Sequence[Split]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The splits as the network knows images: in its channels, normalised by the statistics it was trained with."""
    own = replace(data, mean=predictor.mean, std=predictor.std)
    size = batch_for(predictor.network)
    for part in parts:
        yield from evaluation_batches(in_channels(part, predictor.network.channels), own, size)


def in_channels(part: Split, channels: int) -> Split:
    """Return uint8 images in 1 (grey) or 3 channels, whatever they had."""
    if part.images.shape[1] == channels:
        return part
    if channels == 1:
        weights = torch.tensor(LUMA).view(1, 3, 1, 1)
        grey = [(some * weights).sum(1, keepdim=True).round().to(torch.uint8) for some in part.images.split(CHUNK)]
        return Split(torch.cat(grey), part.labels)
    return Split(part.images.expand(-1, channels, -1, -1), part.labels)

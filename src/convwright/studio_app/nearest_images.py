"""The training images that a network finds the most similar to a photograph."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.errors import UsageError
from convwright.prediction.network import Predictor
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

MOST_IMAGES = 2000
"""Training images that are compared, spread over all."""
BATCH, SHOWN = 64, 6


@dataclass(frozen=True)
class _Known:
    """Training images and their features, N x D, normalised to length 1."""

    features: torch.Tensor
    images: torch.Tensor
    labels: list[str]


def nearest_images(path: Path, changed: int, predictor: Predictor, image: Image.Image) -> str:
    """Return the nearest training images by the cosine of the features before the classifier, as HTML.

    Args:
        path: The run.
        changed: When its weights changed.
        predictor: Its network.
        image: The photograph.

    Raises:
        UsageError: The network has no linear layer.
    """
    known = _known(path, changed, predictor)
    vector = _features(predictor, predictor.read(image)[None])
    similar, rows = (known.features @ vector[0]).topk(min(SHOWN, len(known.labels)))
    pictures = "".join(
        _picture(known.images[row], known.labels[row], value)
        for value, row in zip(similar.tolist(), rows.tolist(), strict=True)
    )
    return f'<h3>Most similar of {len(known.labels):,} training images</h3><ul class="pictures">{pictures}</ul>'


def _picture(image: torch.Tensor, label: str, similarity: float) -> str:
    pixels = as_pixels(image)
    small = ' class="pixelated"' if is_small(pixels) else ""
    name = escape(label)
    return f'<li><img{small} src="{data_uri(pixels)}" alt="{name}">{name}, similarity {similarity:.2f}</li>'


@lru_cache(4)
def _known(path: Path, changed: int, predictor: Predictor) -> _Known:
    run = Run.open(path)
    split = open_run_data(run).train
    rows = torch.linspace(0, len(split) - 1, min(MOST_IMAGES, len(split))).long().unique()
    images = split.take(rows)
    features = torch.cat([_features(predictor, part) for part in images.split(BATCH)])
    labels = [
        run.classes[int(label)]
        if label.dim() == 0
        else ", ".join(run.classes[i] for i in label.nonzero()[:, 0].tolist())
        for label in split.labels[rows]
    ]
    return _Known(features, images, labels)


def _features(predictor: Predictor, images: torch.Tensor) -> torch.Tensor:
    linear = [each for each in predictor.module.modules() if isinstance(each, nn.Linear)]
    if not linear:
        raise UsageError("this network has no linear layer, before which features could be compared")
    with _inputs(linear[-1]) as found:
        predictor.logits(images)
    return nn.functional.normalize(found[0].flatten(1).float().cpu())


@contextmanager
def _inputs(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    found: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach()))
    try:
        yield found
    finally:
        handle.remove()

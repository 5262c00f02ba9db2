"""Images with class activation maps laid over them, for pages and figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from convwright.brief import Brief
from convwright.explain.activation import ActivationMaps, activation_maps
from convwright.explain.drawing import overlay, png
from convwright.prediction.network import AnyImage, Predictor


@dataclass(frozen=True)
class Overlay(Brief):
    """One image under its map."""

    picture: Image.Image
    label: str
    """The class that the map is evidence for."""
    probability: float

    @property
    def png(self) -> bytes:
        """The picture as the content of a PNG file."""
        return png(self.picture)


def overlays(
    predictor: Predictor, images: Iterable[AnyImage], *, side: int | None = None, **options: Any
) -> list[Overlay]:
    """Return each image under its map.

    Args:
        predictor: The network.
        images: Files, Pillow images, tensors or arrays.
        side: Longer side of the pictures in pixels; None for that of the images, at least 224.
        options: Options of `activation_maps`.
    """
    pixels = [predictor.read(image) for image in images]
    return laid_over(predictor, pixels, activation_maps(predictor, pixels, **options), side)


def laid_over(
    predictor: Predictor, pixels: Iterable[torch.Tensor], maps: ActivationMaps, side: int | None = None
) -> list[Overlay]:
    """Return images, as `Predictor.read` returns them, under their maps."""
    return [
        Overlay(overlay(image.numpy(), relevance, side), predictor.classes[target], probability)
        for image, relevance, target, probability in zip(
            pixels, maps.maps, maps.targets, maps.probabilities, strict=False
        )
    ]

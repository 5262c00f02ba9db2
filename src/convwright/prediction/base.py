"""What every predictor does, whatever computes its answers: take images in any form, and rank classes.

No torch in here: an exported file answers through the same code.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from PIL import Image

from convwright.data.images import Framing, ImageFile, decode, fitted, printable, quiet, reason
from convwright.data.threads import in_threads
from convwright.errors import ConvwrightError, UsageError

if TYPE_CHECKING:
    import torch

AnyImage = Union[ImageFile, Image.Image, "torch.Tensor", np.ndarray]
"""A file, a Pillow image, or uint8 values: a tensor C x H x W or an array H x W x C (grey: H x W will do)."""
BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """Classes and their probabilities for one image, most likely first."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class BasePredictor(ABC):
    """Reads images as training does, and names the likeliest classes. Subclasses say what the probabilities are."""

    classes: tuple[str, ...]
    channels: int
    resolution: int
    framing: Framing

    def read(self, image: AnyImage) -> Any:
        """Return one image as training saw its images: uint8, C x H x W. ConvwrightError if it cannot be read."""
        (pixels,) = self.read_all([image])
        if isinstance(pixels, ConvwrightError):
            raise pixels
        return pixels

    def read_all(self, images: Sequence[AnyImage]) -> list[Any]:
        """Read images in parallel, as `read` does. In the place of one that cannot be read is the error."""

        def work(image: AnyImage) -> Any:
            try:
                return self._held(self._pixels(image))
            except ConvwrightError as error:
                return error

        with quiet():
            return [work(images[0])] if len(images) == 1 else list(in_threads(work, images, None, ""))

    def rank(self, pixels: Sequence[Any], top: int = 5) -> list[Prediction]:
        """Name the `top` likeliest classes of each image that `read` gave, all in one batch."""
        if not len(pixels):
            return []
        answers = []
        for probabilities in self._answers(pixels):
            best = np.argsort(-probabilities, kind="stable")[:top]
            answers.append(Prediction(tuple(self.classes[i] for i in best), tuple(probabilities[best].tolist())))
        return answers

    def predict(self, images: Iterable[AnyImage], top: int = 5, batch_size: int = BATCH) -> list[Prediction]:
        """Name the `top` likeliest classes of each image, given as files, Pillow images, tensors or arrays.

        Images of another size than the network's are resized and cropped as in training. Raises ConvwrightError
        for the first that cannot be read.
        """
        if top < 1 or batch_size < 1:
            raise UsageError(f"top and batch_size must be 1 or more, not {top} and {batch_size}")
        check_many(images)
        predictions: list[Prediction] = []
        for batch in _batched(images, batch_size):
            pixels = self.read_all(batch)
            for read in pixels:
                if isinstance(read, ConvwrightError):
                    raise read
            predictions += self.rank(pixels, top)
        return predictions

    def _held(self, pixels: np.ndarray) -> Any:
        """Return an image's pixels as this predictor computes with them."""
        return pixels

    @abstractmethod
    def _answers(self, pixels: Sequence[Any]) -> np.ndarray:
        """Return probabilities, N x classes, of images as `read` gives them."""

    def _pixels(self, image: AnyImage) -> np.ndarray:
        if is_tensor(image):
            return self._from_values(_from_tensor(image))
        if isinstance(image, np.ndarray):
            return self._from_values(_checked(image, "an array", "H x W x C"))
        if not isinstance(image, str | Path | Image.Image) and not hasattr(image, "read"):
            raise UsageError(f"an image is a file, a Pillow image, a tensor or an array, not {type(image).__name__}")
        try:
            return self._from_image(image)  # type: ignore[arg-type]
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            name = image if isinstance(image, str | Path) else getattr(image, "name", "the image")
            raise ConvwrightError(f"cannot read {printable(name)}: {reason(error)}") from error

    def _from_values(self, array: np.ndarray) -> np.ndarray:
        if array.shape == (self.resolution, self.resolution, self.channels):  # nothing to decide
            return np.ascontiguousarray(array.transpose(2, 0, 1))
        return self._from_image(Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array))

    def _from_image(self, image: ImageFile | Image.Image) -> np.ndarray:
        how = self.resolution, self.channels, self.framing
        return np.ascontiguousarray(fitted(image, *how) if isinstance(image, Image.Image) else decode(image, *how))


def is_tensor(image: object) -> bool:
    """Is it a tensor of torch's? Where nobody has loaded torch, there is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _from_tensor(image: Any) -> np.ndarray:
    array = image.detach().cpu().numpy()
    return _checked(array.transpose(1, 2, 0) if array.ndim == 3 else array, "a tensor", "C x H x W", image.shape)


def _checked(array: np.ndarray, kind: str, layout: str, shape: Sequence[int] | None = None) -> np.ndarray:
    """Return H x W x C uint8 pixels that are an image of 1, 3 or 4 channels; UsageError says what they are instead."""
    told = " x ".join(map(str, array.shape if shape is None else shape)) or "a single value"
    if array.dtype != np.uint8:
        raise UsageError(f"the values of {kind} must be uint8, from 0 to 255, not {array.dtype}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise UsageError(f"an image as {kind} is {layout} with 1, 3 or 4 channels, not {told}")
    if not array.size:
        raise UsageError(f"an image must have pixels; this is {kind} of {told}")
    return array


def check_many(images: Any) -> None:
    """UsageError for one image where many are taken: iterating over it would take it for a list of its rows."""
    few = (is_tensor(images) or isinstance(images, np.ndarray)) and images.ndim < 4
    if few or isinstance(images, str | bytes | Path | Image.Image) or not isinstance(images, Iterable):
        raise UsageError("several images are taken; give a list, also of one")


def _batched(images: Iterable[AnyImage], size: int) -> Iterator[list[AnyImage]]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch

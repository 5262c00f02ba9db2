"""A trained network that names what is in an image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from convwright.arch import Network
from convwright.data.images import Framing, ImageFile, decode, fitted, printable, quiet, reason
from convwright.data.threads import in_threads
from convwright.errors import ConvwrightError, RunError, UsageError
from convwright.modules import build
from convwright.training.run import Run
from convwright.weights import load_weights

AnyImage = ImageFile | Image.Image | torch.Tensor | np.ndarray
"""A file, a Pillow image, or uint8 values: a tensor C x H x W or an array H x W x C (grey: H x W will do)."""
BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """Classes and their probabilities for one image, most likely first."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Predictor:
    """A built network with its weights, classes and preprocessing, on a device."""

    def __init__(
        self,
        network: Network,
        module: nn.Module,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        framing: Framing = Framing(),
    ) -> None:
        self.framing = framing
        self.network, self.classes = network, tuple(classes)
        self.mean, self.std = tuple(mean), tuple(std)
        self.device = find_device(device)
        # Channels last, as in training, is what fast convolutions read.
        self.module = module.to(self.device).to(memory_format=torch.channels_last).eval()

    def read(self, image: AnyImage) -> torch.Tensor:
        """Return one image as training saw its images: uint8, C x H x W. ConvwrightError if it cannot be read."""
        (pixels,) = self.read_all([image])
        if isinstance(pixels, ConvwrightError):
            raise pixels
        return pixels

    def read_all(self, images: Sequence[AnyImage]) -> list[torch.Tensor | ConvwrightError]:
        """Read images in parallel, as `read` does. In the place of one that cannot be read is the error."""

        def work(image: AnyImage) -> torch.Tensor | ConvwrightError:
            try:
                return self._pixels(image)
            except ConvwrightError as error:
                return error

        with quiet():
            return list(in_threads(work, images, None, ""))

    @torch.no_grad()
    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return N x classes probabilities for N x C x H x W uint8 images of the network's size."""
        return self.module(self.normalised(images)).float().softmax(1).cpu()

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return N x C x H x W uint8 images as the module reads them: floats, on its device."""
        images = images.to(self.device)
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return (images - mean * 255) / (std * 255)

    def rank(self, pixels: Sequence[torch.Tensor], top: int = 5) -> list[Prediction]:
        """Name the `top` likeliest classes of each image that `read` gave, all in one batch."""
        if not pixels:
            return []
        ranked = self.probabilities(torch.stack(list(pixels))).sort(dim=1, descending=True, stable=True)
        return [
            Prediction(tuple(self.classes[index] for index in indices[:top]), tuple(values[:top]))
            for values, indices in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True)
        ]

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
            pixels = []
            for read in self.read_all(batch):
                if isinstance(read, ConvwrightError):
                    raise read
                pixels.append(read)
            predictions += self.rank(pixels, top)
        return predictions

    def _pixels(self, image: AnyImage) -> torch.Tensor:
        if isinstance(image, torch.Tensor):
            return self._from_values(_channels_last(image))
        if isinstance(image, np.ndarray):
            return self._from_values(_checked(image, "an array", "H x W x C"))
        if not isinstance(image, str | Path | Image.Image) and not hasattr(image, "read"):
            raise UsageError(f"an image is a file, a Pillow image, a tensor or an array, not {type(image).__name__}")
        try:
            return self._from_image(image)
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            name = image if isinstance(image, str | Path) else getattr(image, "name", "the image")
            raise ConvwrightError(f"cannot read {printable(name)}: {reason(error)}") from error

    def _from_values(self, array: np.ndarray) -> torch.Tensor:
        resolution, channels = self.network.resolution, self.network.channels
        if array.shape == (resolution, resolution, channels):  # nothing to decide
            return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
        return self._from_image(Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array))

    def _from_image(self, image: ImageFile | Image.Image) -> torch.Tensor:
        shape = self.network.resolution, self.network.channels
        if isinstance(image, Image.Image):
            return torch.from_numpy(fitted(image, *shape, self.framing)).contiguous()
        return torch.from_numpy(decode(image, *shape, self.framing)).contiguous()


def _channels_last(image: torch.Tensor) -> np.ndarray:
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


def check_many(images: object) -> None:
    """UsageError for one image where many are taken: iterating over it would take it for a list of its rows."""
    few = isinstance(images, torch.Tensor | np.ndarray) and images.ndim < 4
    if few or isinstance(images, str | bytes | Path | Image.Image) or not isinstance(images, Iterable):
        raise UsageError("several images are taken; give a list, also of one")


def _batched(images: Iterable[AnyImage], size: int) -> Iterator[list[AnyImage]]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch


def find_device(name: torch.device | str) -> torch.device:
    """Return a device by its name; "auto" is the GPU if there is one. UsageError if this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # torch's backends have no common error
        why = str(error).split("\n")[0]
        raise UsageError(f"no device {str(name)!r} on this machine ({why}); take cpu, cuda or auto") from None
    return device


def load(path: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Load a run directory as a `Predictor`. RunError if it is not a run, or has no weights yet."""
    run = Run.open(Path(path))
    if not run.weights.exists():
        raise RunError(f"{run.path}: no weights yet; the first epoch must end first")
    module = build(run.network, seed=0)
    load_weights(module, run.weights)
    return Predictor(run.network, module, run.classes, run.data.mean, run.data.std, device)

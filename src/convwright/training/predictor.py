"""A trained network that names what is in an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convwright.arch import Network
from convwright.data import read_image
from convwright.data.images import ImageFile
from convwright.errors import RunError
from convwright.modules import build
from convwright.training.run import Run
from convwright.weights import load_weights


@dataclass(frozen=True)
class Prediction:
    """Classes and their probabilities for one image, most likely first."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Predictor:
    """A built network with its weights, classes and preprocessing."""

    def __init__(
        self,
        network: Network,
        module: nn.Module,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.classes, self.device = network, tuple(classes), device
        self.module = module.to(device).eval()
        self._mean = torch.tensor(mean).view(-1, 1, 1)
        self._std = torch.tensor(std).view(-1, 1, 1)

    def read(self, image: ImageFile) -> torch.Tensor:
        """Decode one file as in training: uint8, C x H x W. ConvwrightError if it cannot be read."""
        return read_image(image, self.network.resolution, self.network.channels)

    @torch.no_grad()
    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return N x classes probabilities for N x C x H x W uint8 images."""
        normalised = (images / 255 - self._mean) / self._std
        return self.module(normalised.to(self.device)).float().softmax(1).cpu()

    def predict(self, images: Sequence[ImageFile | torch.Tensor], top: int = 5) -> list[Prediction]:
        """Name the `top` likeliest classes of each image, given as files or as uint8 tensors C x H x W."""
        if not images:
            return []
        batch = torch.stack([image if isinstance(image, torch.Tensor) else self.read(image) for image in images])
        ranked = self.probabilities(batch).sort(dim=1, descending=True)
        return [
            Prediction(tuple(self.classes[index] for index in indices[:top]), tuple(values[:top]))
            for values, indices in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True)
        ]


def load(path: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Load a run directory as a `Predictor`. RunError if it is not a run, or has no weights yet."""
    run = Run.open(Path(path))
    if not run.weights.exists():
        raise RunError(f"{run.path}: no weights yet; the first epoch must end first")
    module = build(run.network, seed=0)
    load_weights(module, run.weights)
    return Predictor(run.network, module, run.classes, run.data.mean, run.data.std, device)

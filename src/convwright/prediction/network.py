"""A trained network that names what is in an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convwright.arch import Network
from convwright.data.images import Framing
from convwright.errors import UsageError
from convwright.finite import check_finite
from convwright.modules import build
from convwright.prediction.base import BATCH, AnyImage, BasePredictor, Prediction
from convwright.training.run import Run
from convwright.weights import load_weights

__all__ = ["BATCH", "AnyImage", "Prediction", "Predictor", "find_device", "load"]


class Predictor(BasePredictor):
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
        source: object = "",
    ) -> None:
        self.framing = framing
        self.source = source or network.name
        self.network, self.classes = network, tuple(classes)
        self.channels, self.resolution = network.channels, network.resolution
        self.mean, self.std = tuple(mean), tuple(std)
        self.device = find_device(device)
        # Channels last, as in training, is what fast convolutions read.
        self.module = module.to(self.device).to(memory_format=torch.channels_last).eval()

    @torch.no_grad()
    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return N x classes probabilities for N x C x H x W uint8 images of the network's size."""
        return check_finite(self.module(self.normalised(images)).float(), self.source).softmax(1).cpu()

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return N x C x H x W uint8 images as the module reads them: floats, on its device."""
        images = images.to(self.device)
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return (images - mean * 255) / (std * 255)

    def _held(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels)

    def _answers(self, pixels: Sequence[torch.Tensor]) -> np.ndarray:
        return self.probabilities(torch.stack(list(pixels))).numpy()


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
    """Load a run directory as a `Predictor`. RunError if it is not a run, is damaged, or has no weights yet."""
    run = Run.open(Path(path))
    module = build(run.network, seed=0)
    load_weights(module, run.existing_weights())
    return Predictor(run.network, module, run.classes, run.data.mean, run.data.std, device, source=path)

"""A trained network in torch that classifies images."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convwright.arch import Network
from convwright.arch.resolution import sides
from convwright.data.dataset import normalised
from convwright.data.images import Framing
from convwright.errors import ArgumentError
from convwright.modules import build
from convwright.modules.devices import find_device
from convwright.prediction.base import BATCH, AnyImage, BasePredictor
from convwright.prediction.features import features_and_logits
from convwright.prediction.folded import FoldedNetwork
from convwright.prediction.outcomes import Prediction
from convwright.prediction.run_limits import run_limits
from convwright.prediction.stored_limits import NetworkLimits, read_limits
from convwright.stats.limits import Limits
from convwright.training.evaluation import averaged
from convwright.training.run import Run
from convwright.training.views import AS_IT_IS, View
from convwright.weights import load_weights

__all__ = ["BATCH", "AnyImage", "Prediction", "Predictor", "find_device", "load"]


class Predictor(BasePredictor):
    """A built network with its weights, classes and preprocessing, on a device.

    Args:
        network: Description of the network.
        module: The network with its weights.
        classes: Names of the classes, in the order of the logits.
        mean: Mean of each channel on the scale 0 to 1, for normalisation.
        std: Standard deviation of each channel.
        device: Where the network computes.
        framing: How images are cropped and resized.
        source: What the network is called in error messages; by default its name.
        thresholds: Probability from which on each class is predicted, for a multi-label network.

    Raises:
        ArgumentError: This machine lacks the device.
    """

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
        thresholds: Sequence[float] | None = None,
    ) -> None:
        self.thresholds = None if thresholds is None else tuple(thresholds)
        self.run: Run | None = None
        self.framing = framing
        self.source = source or network.name
        self.network, self.classes = network, tuple(classes)
        self.channels, self.resolution = network.channels, network.resolution
        self.mean, self.std = tuple(mean), tuple(std)
        self.device = find_device(device)
        # Convolutions compute fastest with channels last, as in training.
        self.module = module.to(self.device).to(memory_format=torch.channels_last).eval()
        self._folded = FoldedNetwork()

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"network": self.network.name, "classes": self.classes, "device": str(self.device)}

    @torch.no_grad()
    def logits(self, images: torch.Tensor, views: Sequence[View] = AS_IT_IS) -> torch.Tensor:
        """Return float32 logits, N x classes, on the predictor's device.

        On a CPU a built network without hooks computes with normalisations merged into convolutions: what its module
        computes, up to rounding.

        Args:
            images: N x C x H x W, uint8, of the network's size.
            views: Test-time augmentation views; with several, the logits are the logarithms of their mean
                probabilities.

        Raises:
            NotFiniteError: A logit is NaN or infinite.
        """
        return self._averaged(images, views, 1.0)

    @torch.no_grad()
    def calibrated_logits(self, images: torch.Tensor, views: Sequence[View] = AS_IT_IS) -> torch.Tensor:
        """Return logits whose softmax gives the probabilities: calibrated where a temperature has been fitted.

        Args:
            images: N x C x H x W, uint8, of the network's size.
            views: Test-time augmentation views, whose probabilities are averaged.
        """
        return self._averaged(images, views, self.temperature)

    def _averaged(self, images: torch.Tensor, views: Sequence[View], temperature: float) -> torch.Tensor:
        def compute(normal: torch.Tensor) -> torch.Tensor:
            logits = self._folded(self.module, normal)
            return logits if temperature == 1 else logits / temperature

        return averaged(compute, self.normalised(images), views, self.source, multi_label=self.multi_label)

    def probabilities(self, images: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Return the probabilities of images: calibrated where the run has fitted limits.

        Args:
            images: N x C x H x W, uint8, with the channels and the resolution of the network.

        Returns:
            N x classes.

        Raises:
            ArgumentError: The images have another type or shape.
        """
        images = torch.as_tensor(images)
        expected = self.channels, *sides(self.resolution)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            size, wanted = (" x ".join(map(str, shape)) for shape in (images.shape, ("N", *expected)))
            raise ArgumentError(
                "images", f"must be uint8 of {wanted}, not {images.dtype} of {size or 'a single value'}"
            )
        return torch.from_numpy(self.calibrated(self.logits(images).cpu().numpy())).float()

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return images, N x C x H x W, uint8, as the module's input: normalised floats on its device."""
        return normalised(images.to(self.device), self.mean, self.std)

    def convert(self, pixels: np.ndarray) -> torch.Tensor:
        """Return an image's pixels as a tensor."""
        return torch.from_numpy(pixels)

    def _scored(self, pixels: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray | None]:
        features, logits = features_and_logits(self, torch.stack(list(pixels)))
        ood = self._run_limits[1]
        return logits, None if ood is None or features is None else ood.scores(features, logits)

    @cached_property
    def _run_limits(self) -> NetworkLimits:
        return (super().find_limits(), None) if self.run is None else run_limits(self.run, self)

    @cached_property
    def _stored_limits(self) -> NetworkLimits | None:
        return None if self.run is None else read_limits(self.run.path)

    def fitted_limits(self) -> Limits | None:
        """Return temperature and thresholds of the run where they have been fitted already; None elsewhere."""
        found = self._run_limits if "_run_limits" in vars(self) else self._stored_limits
        return None if found is None else found[0]

    def find_limits(self) -> Limits:
        """Return temperature and thresholds of the run, fitted on its images when first needed.

        Raises:
            ArgumentError: The network is not a run's, or the run has too few validation images.
        """
        return self._run_limits[0]

    def _logits(self, pixels: Sequence[torch.Tensor]) -> np.ndarray:
        return self.logits(torch.stack(list(pixels))).cpu().numpy()


def load(run: Run | str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Load the best weights of a run.

    Args:
        run: A run or its directory.
        device: Where the network computes.

    Raises:
        RunError: There is no run, a file of it is damaged, or it has no weights yet.
    """
    run = Run.of(run)
    module = build(run.network, seed=0)
    load_weights(module, run.existing_weights())
    predictor = Predictor(
        run.network,
        module,
        run.classes,
        run.data.mean,
        run.data.std,
        device,
        run.framing,
        source=run.path,
        thresholds=run.thresholds,
    )
    predictor.run = run
    return predictor

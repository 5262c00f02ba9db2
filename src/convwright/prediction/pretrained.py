"""Networks with published weights, ready to predict."""

import torch

from convwright.arch import Network, at
from convwright.modules import build
from convwright.prediction.network import Predictor
from convwright.training.initial_weights import find_initial_weights
from convwright.weights.foreign import classifier_of, first_convolution_of


def pretrained(network: Network, weights: str = "pretrained", device: torch.device | str = "cpu") -> Predictor:
    """Return a network with published weights, ready to classify photos.

    Args:
        network: The network; resolution, channels and classes are those of the weights.
        weights: `pretrained`, `torchvision`, `timm`, a file or a run directory; see `find_initial_weights`.
        device: Where the network computes.

    Raises:
        UsageError: There are no such weights.
        ConvwrightError: The weights cannot be read or do not fit.
    """
    initial = find_initial_weights(weights, network)
    published = initial.published
    layers = build(network, device="meta")
    count = initial.tensors[f"{classifier_of(layers)}.weight"].shape[0]
    channels = initial.tensors[f"{first_convolution_of(layers)}.weight"].shape[1]
    resolution = published.resolution or network.resolution
    network = at(network, resolution=resolution, channels=channels, classes=count)
    module = build(network, seed=0)
    initial.load(module)
    classes = published.classes or tuple(f"class {index}" for index in range(count))
    return Predictor(network, module, classes, published.mean, published.std, device, published.framing)

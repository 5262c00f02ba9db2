"""How fast this machine trains a network: with the device and the operators that training will use."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.nn.functional import cross_entropy

from convwright.arch import Network
from convwright.arch.resolution import sides
from convwright.modules import build
from convwright.prediction.folded import FoldedNetwork
from convwright.training.devices import training_device
from convwright.training.operators import fused_is_compiled

BATCH = 32
"""Images of a step whose time is measured."""
MAX_ROUNDS, SECONDS = 8, 0.4
"""Steps of each kind at most that are timed, and the seconds after which no further ones are."""
BRIEF = 0.1
"""Seconds of a measurement for a decision that is not close."""
PREDICTIONS = 3
"""Predictions of a batch that are timed, of which the median counts."""
PRECISION = "32-true"
"""Precision that trials compute in."""


def seconds_per_image(network: Network, seconds: float = SECONDS) -> float:
    """Return the seconds of a training step for each of its images, measured with random images.

    On a processor, training takes the faster ones of torch's operators and the fused ones, so both are measured; fused
    ones that would have to be compiled first are not.

    Args:
        network: The network.
        seconds: Seconds after which no further steps are measured.
    """
    device = training_device()
    kinds = [False, True] if device.type == "cpu" and fused_is_compiled(PRECISION) else [False]
    steps = [_step(network, device, fused=fused) for fused in kinds]
    for step in steps:
        step()  # the first one warms up
    began = time.perf_counter()
    least = 2 // len(steps)
    taken: list[float] = []
    while len(taken) < least * len(steps) or (
        len(taken) < MAX_ROUNDS * len(steps) and time.perf_counter() - began < seconds
    ):
        for step in steps:
            started = time.perf_counter()
            step()
            taken.append(time.perf_counter() - started)
    return min(taken) / BATCH


def prediction_seconds(network: Network) -> float:
    """Return the seconds in which a network predicts an image, measured with random weights and images.

    Args:
        network: The network.
    """
    device, predict = training_device(), FoldedNetwork()
    module = build(network, seed=0).to(memory_format=torch.channels_last).to(device).eval()
    images = torch.rand(BATCH, network.channels, *sides(network.resolution), device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    taken: list[float] = []
    with torch.inference_mode():
        for _ in range(1 + PREDICTIONS):  # the first one warms up
            started = time.perf_counter()
            predict(module, images).flatten()[0].item()
            taken.append(time.perf_counter() - started)
    return median(taken[1:]) / BATCH


def _step(network: Network, device: torch.device, *, fused: bool) -> Callable[[], None]:
    """Return a training step of a network on random images, which ends when the device has computed it."""
    module = build(network, seed=0, fused=fused).to(memory_format=torch.channels_last).to(device).train()
    images = torch.rand(BATCH, network.channels, *sides(network.resolution), device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH, device=device) % network.classes
    first = next(module.parameters())

    def step() -> None:
        first.grad = None
        cross_entropy(module(images), labels).backward()
        assert first.grad is not None
        first.grad.flatten()[0].item()  # waits for a device that computes in its own time: this gradient comes last

    return step

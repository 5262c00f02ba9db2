"""How fast this machine runs a network: enough to choose a resolution for the time there is, within a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from convwright.arch import Network, at, fit_resolution
from convwright.modules import build
from convwright.training.process_state import preserved_process_state

MEASURED_AT, BATCH, ROUNDS = 96, 16, 3
"""Side of the measured images, images at a time, and rounds, of which the fastest counts."""


@dataclass(frozen=True)
class Speed:
    """Seconds that an image takes, by the area that was measured."""

    forward: float
    """In evaluation, at `measured_at`."""
    step: float
    """In a training step, at `measured_at`."""
    measured_at: int

    def forward_at(self, side: int) -> float:
        """Return the seconds of an image of another side in evaluation."""
        return self.forward * (side / self.measured_at) ** 2

    def step_at(self, side: int) -> float:
        """Return the seconds of an image of another side in a training step."""
        return self.step * (side / self.measured_at) ** 2


def measure_speed(network: Network, *, side: int = MEASURED_AT, fit: bool = False, fused: bool = False) -> Speed:
    """Measure a network on images of noise.

    Args:
        network: The network.
        side: Side of the images.
        fit: Whether to drop the network's early strides for small images.
        fused: Whether to use fused operators.
    """
    fitted = fit_resolution(network, side) if fit else network
    with preserved_process_state():
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        module = build(at(fitted, resolution=side, channels=3), seed=0, fused=fused)
        module.to(device).to(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(BATCH, 3, side, side, generator=generator).to(device)
        images = images.contiguous(memory_format=torch.channels_last)
        return Speed(_fastest(lambda: _forward(module, images)), _fastest(lambda: _step(module, images)), side)


def _forward(module: nn.Module, images: torch.Tensor) -> None:
    module.eval()
    with torch.no_grad():
        module(images).sum().item()


def _step(module: nn.Module, images: torch.Tensor) -> None:
    module.train()
    loss = module(images).sum()
    loss.backward()
    loss.item()  # waits for a GPU


def _fastest(work: Callable[[], None]) -> float:
    work()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds) / BATCH

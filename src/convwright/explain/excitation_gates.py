"""Squeeze-and-excitation found in torch modules of Convwright, timm and torchvision, and its factors recorded.

A gate multiplies maps by its excitation, one factor for each channel. A hook records the output of the part of the gate
that computes these factors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from convwright.errors import NetworkError
from convwright.modules.combinators import Gated

FOREIGN: dict[str, tuple[str, ...]] = {
    "SEModule": ("gate", "sigmoid"),  # timm; its legacy networks
    "SqueezeExcite": ("gate",),  # timm's EfficientNets and MobileNets
    "EffectiveSEModule": ("gate",),  # timm's VoVNet
    "SqueezeExcitation": ("scale_activation",),  # torchvision
}
"""Classes of other libraries by name, and the possible names of the part whose output is the excitation."""


def gates(module: nn.Module) -> dict[str, nn.Module]:
    """Return the part that computes the excitation, by the name of each gate in a module.

    Raises:
        NetworkError: No gate is recognised.
    """
    found = {}
    for name, part in module.named_modules():
        if isinstance(part, Gated):
            *_, last = part.children()
            found[name] = last
        elif type(part).__name__ in FOREIGN:
            inner = dict(part.named_children())
            for key in FOREIGN[type(part).__name__]:
                if key in inner:
                    found[name] = inner[key]
                    break
    if not found:
        raise NetworkError(
            f"{_name(module)} has no squeeze-and-excitation: neither |se: blocks, nor any of "
            f"{', '.join(FOREIGN)} of timm or torchvision"
        )
    return found


@contextmanager
def recording(module: nn.Module, note: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Call a function with each gate's name and its excitation, N x C, whenever the module runs."""

    def hook(name: str, output: torch.Tensor) -> None:
        factors = output.detach().flatten(1)
        if output.ndim > 2 and output[0, 0].numel() != 1:
            raise NetworkError(
                f"{name} multiplies single places, not whole channels: its factors are {tuple(output.shape[1:])}"
            )
        note(name, factors)

    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: hook(name, output))
        for name, part in gates(module).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _name(module: nn.Module) -> str:
    network = getattr(module, "network", None)
    return network.name if network is not None else type(module).__name__

"""Convwright designs, trains, explains and ships efficient convolutional networks.

    >>> import convwright as cw
    >>> network = cw.network("resnet50|se:16")
    >>> cw.cost(network).params
    28088024

Importing it is light: torch is loaded when something needs it (`build`, `load`).
"""

import sys
from typing import TYPE_CHECKING, Any, TypeGuard, overload

from convwright import arch, explain, zoo
from convwright.arch import SE, Cost, Network, at, compound, fit_resolution, scale
from convwright.arch.cost import cost as network_cost
from convwright.arch.expression import as_network, network
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from torch import nn

    from convwright.deploy.predictor import load
    from convwright.modules import build
    from convwright.modules.foreign import ModuleCost

__version__ = "0.1.0"

__all__ = [
    "SE",
    "ConvwrightError",
    "Network",
    "at",
    "build",
    "compound",
    "cost",
    "explain",
    "fit_resolution",
    "load",
    "network",
    "recalibrate",
    "scale",
    "zoo",
]

_HEAVY = {"build": "convwright.modules", "load": "convwright.deploy.predictor"}


@overload
def cost(network: Network | str, resolution: int | None = None, **options: Any) -> Cost: ...
@overload
def cost(network: "nn.Module", resolution: int | None = None, **options: Any) -> "ModuleCost": ...
def cost(network: "Network | str | nn.Module", resolution: int | None = None, **options: Any) -> "Cost | ModuleCost":
    """Count what a network costs (`convwright.arch.cost`), or any torch module (`convwright.modules.foreign.cost`).

    Args:
        network: Network, expression or torch module.
        resolution: Side of the images in pixels; the network's own by default, 224 for a torch module.
        options: `classes` and `channels` of a network; of a torch module, what `foreign.cost` takes.

    Raises:
        NetworkError: It is none of these, or the network cannot read images of this size.
    """
    if _is_module(network):
        from convwright.modules import foreign

        return foreign.cost(network, 224 if resolution is None else resolution, **options)
    return network_cost(as_network(network), resolution, **options)


@overload
def recalibrate(network: Network | str, *arguments: Any, **options: Any) -> Network: ...
@overload
def recalibrate(network: "nn.Module", *arguments: Any, **options: Any) -> "nn.Module": ...
def recalibrate(network: "Network | str | nn.Module", *arguments: Any, **options: Any) -> "Network | nn.Module":
    """Put squeeze-and-excitation into a network (`convwright.arch.recalibrate`), or into any torch module.

    A torch module (`convwright.modules.foreign.recalibrate`) keeps its weights.

    Args:
        network: Network, expression or torch module.
        arguments: The reduction ratio.
        options: What `arch.recalibrate` or `foreign.recalibrate` takes.

    Raises:
        NetworkError: It is none of these, or has no place for squeeze-and-excitation.
    """
    if _is_module(network):
        from convwright.modules import foreign

        return foreign.recalibrate(network, *arguments, **options)
    return arch.recalibrate(as_network(network), *arguments, **options)


def _is_module(value: object) -> "TypeGuard[nn.Module]":
    """Whether a value is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module 'convwright' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HEAVY[name]), name)

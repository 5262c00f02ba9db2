"""Convwright designs, trains, explains and ships efficient convolutional networks.

    >>> import convwright as cw
    >>> network = cw.network("resnet50|se:16")
    >>> cw.cost(network).params
    28088024

Importing it is light: torch is loaded when something needs it (`build`, `load`).
"""

from typing import TYPE_CHECKING, Any, overload

from convwright import arch, explain, zoo
from convwright.arch import SE, Cost, Network, at, compound, fit_resolution, scale
from convwright.arch.cost import cost as network_cost
from convwright.arch.expression import network
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
def cost(network: Network, resolution: int | None = None, **options: Any) -> Cost: ...
@overload
def cost(network: "nn.Module", resolution: int | None = None, **options: Any) -> "ModuleCost": ...
def cost(network: "Network | nn.Module", resolution: int | None = None, **options: Any) -> "Cost | ModuleCost":
    """Count what a network costs (`convwright.arch.cost`), or any torch module (`convwright.modules.foreign.cost`)."""
    if isinstance(network, Network):
        return network_cost(network, resolution, **options)
    from convwright.modules import foreign

    return foreign.cost(network, 224 if resolution is None else resolution, **options)


@overload
def recalibrate(network: Network, *arguments: Any, **options: Any) -> Network: ...
@overload
def recalibrate(network: "nn.Module", *arguments: Any, **options: Any) -> "nn.Module": ...
def recalibrate(network: "Network | nn.Module", *arguments: Any, **options: Any) -> "Network | nn.Module":
    """Put squeeze-and-excitation into a network (`convwright.arch.recalibrate`), or into any torch module

    (`convwright.modules.foreign.recalibrate`), whose weights are kept.
    """
    if isinstance(network, Network):
        return arch.recalibrate(network, *arguments, **options)
    from convwright.modules import foreign

    return foreign.recalibrate(network, *arguments, **options)


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module 'convwright' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HEAVY[name]), name)

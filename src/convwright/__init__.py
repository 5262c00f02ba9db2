"""Convwright designs, trains, explains and ships efficient convolutional networks.

    >>> import convwright as cw
    >>> network = cw.network("resnet50|se:16")
    >>> cw.cost(network).params
    28088024

Importing it is light: each name is loaded when it is used, and torch when something needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from convwright.version import __version__

if TYPE_CHECKING:
    from convwright import arch, explain, zoo
    from convwright.api.networks import (
        at,
        compound,
        cost,
        draw,
        fit_resolution,
        models,
        network,
        recalibrate,
        register,
        scale,
    )
    from convwright.arch import SE, Cost, Network
    from convwright.errors import ConvwrightError
    from convwright.modules import build
    from convwright.prediction.files import load

_PLACES = {
    "SE": "convwright.arch",
    "ConvwrightError": "convwright.errors",
    "Cost": "convwright.arch",
    "Network": "convwright.arch",
    "at": "convwright.api.networks",
    "build": "convwright.modules",
    "compound": "convwright.api.networks",
    "cost": "convwright.api.networks",
    "draw": "convwright.api.networks",
    "fit_resolution": "convwright.api.networks",
    "load": "convwright.prediction.files",
    "models": "convwright.api.networks",
    "network": "convwright.api.networks",
    "recalibrate": "convwright.api.networks",
    "register": "convwright.api.networks",
    "scale": "convwright.api.networks",
}
"""The module that defines each public name."""
_MODULES = {"arch": "convwright.arch", "explain": "convwright.explain", "zoo": "convwright.zoo"}
"""Public names that are modules."""

__all__ = [
    "SE",
    "ConvwrightError",
    "Cost",
    "Network",
    "__version__",
    "arch",
    "at",
    "build",
    "compound",
    "cost",
    "draw",
    "explain",
    "fit_resolution",
    "load",
    "models",
    "network",
    "recalibrate",
    "register",
    "scale",
    "zoo",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _PLACES:
        raise AttributeError(f"module 'convwright' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

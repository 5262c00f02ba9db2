"""Convwright designs, trains, explains and ships efficient convolutional networks.

    >>> import convwright as cw
    >>> network = cw.network("resnet50|se:16")
    >>> cw.cost(network).params
    28088024

Importing it is light: torch is loaded when something needs it (`build`, `load`).
"""

from typing import TYPE_CHECKING, Any

from convwright import zoo
from convwright.arch import (
    SE,
    Network,
    at,
    compound,
    cost,
    fit_resolution,
    network,
    recalibrate,
    scale,
)
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from convwright.modules import build
    from convwright.training.predictor import load

__version__ = "0.1.0"

__all__ = [
    "SE",
    "ConvwrightError",
    "Network",
    "at",
    "build",
    "compound",
    "cost",
    "fit_resolution",
    "load",
    "network",
    "recalibrate",
    "scale",
    "zoo",
]

_HEAVY = {"build": "convwright.modules", "load": "convwright.training.predictor"}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module 'convwright' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HEAVY[name]), name)

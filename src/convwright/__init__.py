"""Convwright designs, trains, explains and ships efficient convolutional networks.

    >>> import convwright as cw
    >>> network = cw.network("resnet50|se:16")
    >>> cw.cost(network).params
    28088024

Importing it is light: each name is loaded when it is used, and torch when something needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from convwright.public_classes import CLASSES
from convwright.version import __version__

if TYPE_CHECKING:
    from convwright import arch, explain, zoo
    from convwright.api.curation import curate
    from convwright.api.data import open_data, split, survey
    from convwright.api.demo import demo
    from convwright.api.designs import ablate, design
    from convwright.api.networks import (
        at,
        compound,
        cost,
        describe,
        draw,
        fit_resolution,
        models,
        network,
        recalibrate,
        register,
        scale,
        truncate,
    )
    from convwright.api.prediction import compare, evaluate, load, predict
    from convwright.api.reports import report, reproduce
    from convwright.api.runs import Run
    from convwright.api.scaling import family, plan, search
    from convwright.api.serving import serve
    from convwright.api.shipping import bench, export
    from convwright.api.training import advise, augmented, cross_validate, open_run, prepare, resume, train
    from convwright.arch import SE, Cost, Network
    from convwright.errors import ConvwrightError
    from convwright.modules import build
    from convwright.studio_app.opening import studio
    from convwright.training import callbacks
    from convwright.training.callbacks import StopTraining
    from convwright.training.request import TrainRequest

_PLACES = {
    "ConvwrightError": "convwright.errors",
    "Cost": "convwright.arch",
    "Network": "convwright.arch",
    "Run": "convwright.api.runs",
    "SE": "convwright.arch",
    "StopTraining": "convwright.training.callbacks",
    "TrainRequest": "convwright.training.request",
    "advise": "convwright.api.training",
    "ablate": "convwright.api.designs",
    "at": "convwright.api.networks",
    "augmented": "convwright.api.training",
    "bench": "convwright.api.shipping",
    "build": "convwright.modules",
    "compare": "convwright.api.prediction",
    "compound": "convwright.api.networks",
    "cost": "convwright.api.networks",
    "curate": "convwright.api.curation",
    "demo": "convwright.api.demo",
    "cross_validate": "convwright.api.training",
    "design": "convwright.api.designs",
    "describe": "convwright.api.networks",
    "draw": "convwright.api.networks",
    "evaluate": "convwright.api.prediction",
    "export": "convwright.api.shipping",
    "family": "convwright.api.scaling",
    "fit_resolution": "convwright.api.networks",
    "load": "convwright.api.prediction",
    "models": "convwright.api.networks",
    "network": "convwright.api.networks",
    "open_data": "convwright.api.data",
    "open_run": "convwright.api.training",
    "plan": "convwright.api.scaling",
    "predict": "convwright.api.prediction",
    "prepare": "convwright.api.training",
    "recalibrate": "convwright.api.networks",
    "register": "convwright.api.networks",
    "report": "convwright.api.reports",
    "reproduce": "convwright.api.reports",
    "resume": "convwright.api.training",
    "scale": "convwright.api.networks",
    "search": "convwright.api.scaling",
    "serve": "convwright.api.serving",
    "split": "convwright.api.data",
    "studio": "convwright.studio_app.opening",
    "survey": "convwright.api.data",
    "train": "convwright.api.training",
    "truncate": "convwright.api.networks",
}
"""The module that defines each public name."""
_MODULES = {
    "arch": "convwright.arch",
    "callbacks": "convwright.training.callbacks",
    "explain": "convwright.explain",
    "zoo": "convwright.zoo",
}
"""Public names that are modules."""

__all__ = [
    "SE",
    "ConvwrightError",
    "Cost",
    "Network",
    "Run",
    "StopTraining",
    "TrainRequest",
    "__version__",
    "ablate",
    "advise",
    "arch",
    "at",
    "augmented",
    "bench",
    "build",
    "callbacks",
    "compare",
    "compound",
    "cost",
    "cross_validate",
    "curate",
    "demo",
    "describe",
    "design",
    "draw",
    "evaluate",
    "explain",
    "export",
    "family",
    "fit_resolution",
    "load",
    "models",
    "network",
    "open_data",
    "open_run",
    "plan",
    "predict",
    "prepare",
    "recalibrate",
    "register",
    "report",
    "reproduce",
    "resume",
    "scale",
    "search",
    "serve",
    "split",
    "studio",
    "survey",
    "train",
    "truncate",
    "zoo",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _PLACES:
        raise AttributeError(f"module 'convwright' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


CLASSES["Run"] = lambda: __getattr__("Run")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

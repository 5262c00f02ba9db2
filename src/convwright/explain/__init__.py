"""What a trained network looks at, and what its parts are for.

`cam` maps what speaks for a class in an image, for a `Predictor` or any torch module; `score_maps` scores such maps
by what the network says when the pixels that they point at go, or come; `overlays` draws them. They are loaded when
they are asked for, since torch comes with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convwright.explain.activation import ActivationMaps, activation_maps
    from convwright.explain.deletion import Estimate, MapScores, score_maps
    from convwright.explain.gallery import Overlay, overlays

__all__ = ["ActivationMaps", "Estimate", "MapScores", "Overlay", "activation_maps", "overlays", "score_maps"]

_WHERE = {
    "ActivationMaps": "activation",
    "activation_maps": "activation",
    "Estimate": "deletion",
    "MapScores": "deletion",
    "score_maps": "deletion",
    "Overlay": "gallery",
    "overlays": "gallery",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'convwright.explain' has no attribute {name!r}")
    return getattr(import_module(f"convwright.explain.{_WHERE[name]}"), name)

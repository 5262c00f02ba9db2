"""What a trained network looks at, and what its parts are for.

For runs: `cam` and `faithfulness` (class activation maps and their scores), `reuse` and `prune` (feature reuse in dense
blocks), `excitations` and `drop` (squeeze-and-excitation). For any torch module: `activation_maps`, `score_maps` and
`measure_excitations`. Names are loaded when they are used, since torch comes with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convwright.explain.activation import ActivationMaps, activation_maps
    from convwright.explain.bound import RunExplanations
    from convwright.explain.cam_result import ClassActivation
    from convwright.explain.deletion import Estimate, MapScores, score_maps
    from convwright.explain.drop_result import DropResult
    from convwright.explain.excitation import measure_excitations
    from convwright.explain.excitation_result import Excitations
    from convwright.explain.faithfulness_result import Faithfulness
    from convwright.explain.functions import cam, drop, excitations, faithfulness, prune, reuse
    from convwright.explain.gallery import Overlay, overlays
    from convwright.explain.reuse_result import Pruning, Reuse

__all__ = [
    "ActivationMaps",
    "ClassActivation",
    "DropResult",
    "Estimate",
    "Excitations",
    "Faithfulness",
    "MapScores",
    "Overlay",
    "Pruning",
    "Reuse",
    "RunExplanations",
    "activation_maps",
    "cam",
    "drop",
    "excitations",
    "faithfulness",
    "measure_excitations",
    "overlays",
    "prune",
    "reuse",
    "score_maps",
]

_PLACES = {
    "ActivationMaps": "activation",
    "ClassActivation": "cam_result",
    "DropResult": "drop_result",
    "Estimate": "deletion",
    "Excitations": "excitation_result",
    "Faithfulness": "faithfulness_result",
    "MapScores": "deletion",
    "Overlay": "gallery",
    "Pruning": "reuse_result",
    "Reuse": "reuse_result",
    "RunExplanations": "bound",
    "activation_maps": "activation",
    "cam": "functions",
    "drop": "functions",
    "excitations": "functions",
    "faithfulness": "functions",
    "measure_excitations": "excitation",
    "overlays": "gallery",
    "prune": "functions",
    "reuse": "functions",
    "score_maps": "deletion",
}
"""The module that defines each name."""


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'convwright.explain' has no attribute {name!r}")
    return getattr(import_module(f"convwright.explain.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

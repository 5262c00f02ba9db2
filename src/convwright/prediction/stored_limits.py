"""Limits of a run as its directory stores them, with the weights they were fitted for. This module imports no torch."""

from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from convwright import json_text
from convwright.errors import ConvwrightError
from convwright.files import digest, write_bytes
from convwright.stats.limits import Limits, are_limits
from convwright.stats.ood import OodModel

NAME = "limits.safetensors"
"""File of a run directory with the limits, and the checksum of the weights that they were fitted for."""
RUN_WEIGHTS = "model.safetensors"
WEIGHTS, LIMITS = "weights", "limits"
NetworkLimits = tuple[Limits, OodModel | None]
"""Limits, and what the out-of-distribution score is computed from; None where there is no such score."""


def read_limits(run: Path) -> NetworkLimits | None:
    """Return the limits that a run directory stores; None if they are missing, damaged, or fitted for other weights.

    Args:
        run: The run directory.
    """
    file = run / NAME
    if not file.is_file():
        return None
    with suppress(ConvwrightError, OSError, SafetensorError, ValueError, TypeError), safe_open(file, "numpy") as opened:
        header = opened.metadata() or {}
        limits = json_text.parse(header.get(LIMITS, ""), file)
        if not are_limits(limits) or header.get(WEIGHTS) != digest(run / RUN_WEIGHTS):
            return None
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        found = Limits.from_dict(limits)
        return found, None if found.ood_score is None else OodModel.from_arrays(arrays)
    return None


def write_limits(run: Path, weights: str, found: NetworkLimits) -> None:
    """Store limits in a run directory, unless it cannot be written: then they are fitted again when they are needed.

    Args:
        run: The run directory.
        weights: Checksum of the weights that they were fitted for.
        found: The limits.
    """
    limits, ood = found
    header = {WEIGHTS: weights, LIMITS: json_text.dump(limits.to_dict())}
    arrays = {} if ood is None or limits.ood_score is None else ood.to_arrays()
    with suppress(ConvwrightError, OSError):
        write_bytes(run / NAME, save(arrays, header))

"""Limits of a run as its directory stores them, with the weights they were fitted for. This module imports no torch."""

from contextlib import suppress
from pathlib import Path

import numpy as np
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
    if not (run / NAME).is_file():
        return None
    with suppress(ConvwrightError, OSError, ValueError, TypeError):
        if found := _stored(run / NAME, digest(run / RUN_WEIGHTS)):
            limits, arrays = found
            return limits, None if limits.ood_score is None else OodModel.from_arrays(arrays)
    return None


def read_file_limits(folder: Path, checksum: str) -> Limits | None:
    """Return the limits of an exported file that a run keeps without limits of its own; None as in `read_limits`.

    Args:
        folder: The folder with the file.
        checksum: Checksum in the file's card.
    """
    found = _stored(folder / NAME, checksum) if (folder / NAME).is_file() else None
    return None if found is None else found[0]


def _stored(file: Path, weights: str) -> tuple[Limits, dict[str, np.ndarray]] | None:
    with suppress(ConvwrightError, OSError, SafetensorError, ValueError, TypeError), safe_open(file, "numpy") as opened:
        header = opened.metadata() or {}
        limits = json_text.parse(header.get(LIMITS, ""), file)
        if are_limits(limits) and header.get(WEIGHTS) == weights:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            return Limits.from_dict(limits), arrays
    return None


def write_limits(folder: Path, weights: str, found: NetworkLimits) -> None:
    """Store limits in a run directory or beside an exported file.

    Where the folder cannot be written, they are fitted again when they are needed.

    Args:
        folder: The folder.
        weights: Checksum of the weights, or in the file's card, that they were fitted for.
        found: The limits.
    """
    limits, ood = found
    header = {WEIGHTS: weights, LIMITS: json_text.dump(limits.to_dict())}
    arrays = {} if ood is None or limits.ood_score is None else ood.to_arrays()
    with suppress(ConvwrightError, OSError):
        write_bytes(folder / NAME, save(arrays, header))

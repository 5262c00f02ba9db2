"""What the network of a run does not know, fitted on its validation images when it is first needed."""

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import torch

from convwright import json_text
from convwright.errors import ArgumentError, ConvwrightError
from convwright.files import digest, write_text
from convwright.stats.limits import FEWEST, Limits, are_limits, fit_limits
from convwright.training.evaluation import batch_for
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor

NAME = "limits.json"
"""File of a run directory with the limits, and the checksum of the weights that they were fitted for."""
WEIGHTS, LIMITS = "weights", "limits"


def run_limits(run: Run, predictor: "Predictor") -> Limits:
    """Return the limits of a run: from its directory if they are there, else fitted on all its validation images.

    Args:
        run: The run.
        predictor: Its network.

    Raises:
        ArgumentError: The run is multi-label, or has too few validation images.
        DataError: The run's data cannot be opened.
    """
    if predictor.multi_label:
        raise ArgumentError("coverage", "prediction sets are for networks that predict one class for each image")
    weights, file = digest(run.existing_weights()), run.path / NAME
    with suppress(ConvwrightError, OSError):
        stored = json_text.read(file)
        if isinstance(stored, dict) and stored.get(WEIGHTS) == weights and are_limits(stored.get(LIMITS)):
            return Limits.from_dict(stored[LIMITS])
    limits = _fitted(run, predictor)
    with suppress(ConvwrightError, OSError):  # the run may belong to another user; then they are fitted again
        write_text(file, json_text.dump({WEIGHTS: weights, LIMITS: limits.to_dict()}, indent=1) + "\n")
    return limits


def _fitted(run: Run, predictor: "Predictor") -> Limits:
    split = open_run_data(run).val
    if len(split) < FEWEST:
        raise ArgumentError(
            "coverage", f"{run.path}: prediction sets need {FEWEST} validation images, and the run has {len(split)}"
        )
    logits = [
        predictor.logits(split.take(rows)).cpu().numpy()
        for rows in torch.arange(len(split)).split(batch_for(predictor.network))
    ]
    return fit_limits(np.concatenate(logits), split.labels.numpy())

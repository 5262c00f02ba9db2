"""What the network of a run does not know, fitted on its images when it is first needed."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from convwright import json_text
from convwright.errors import ArgumentError, ConvwrightError
from convwright.files import digest, write_bytes
from convwright.prediction.features import MOST_TRAINING, all_features, fitted_ood
from convwright.seeds import derive
from convwright.stats.limits import FEWEST, Limits, are_limits, fit_limits, known_threshold
from convwright.stats.ood import OodModel
from convwright.stats.ood_selection import Seen
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor

NAME = "limits.safetensors"
"""File of a run directory with the limits, and the checksum of the weights that they were fitted for."""
WEIGHTS, LIMITS = "weights", "limits"
RunLimits = tuple[Limits, OodModel | None]
"""Limits, and what the out-of-distribution score is computed from; None where there is no such score."""


def run_limits(run: Run, predictor: "Predictor") -> RunLimits:
    """Return the limits of a run: from its directory if they are there, else fitted on its images.

    Temperature and thresholds are fitted on all validation images, the out-of-distribution score on training images;
    what the score is, is chosen on validation images.

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
    if (stored := _stored(file, weights)) is not None:
        return stored
    limits, ood = _fitted(run, predictor)
    header = {WEIGHTS: weights, LIMITS: json_text.dump(limits.to_dict())}
    with suppress(ConvwrightError, OSError):  # the run may belong to another user; then they are fitted again
        write_bytes(file, save({} if ood is None else ood.to_arrays(), header))
    return limits, ood


def _stored(file: Path, weights: str) -> RunLimits | None:
    """Return what a file holds; None if it is missing, damaged or of other weights."""
    with suppress(ConvwrightError, OSError, SafetensorError, ValueError, TypeError), safe_open(file, "numpy") as opened:
        header = opened.metadata() or {}
        limits = json_text.parse(header.get(LIMITS, ""), file)
        if header.get(WEIGHTS) != weights or not are_limits(limits):
            return None
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        found = Limits.from_dict(limits)
        return found, None if found.ood_score is None else OodModel.from_arrays(arrays)
    return None


def _fitted(run: Run, predictor: "Predictor") -> RunLimits:
    opened = open_run_data(run)
    split = opened.val
    if len(split) < FEWEST:
        raise ArgumentError(
            "coverage", f"{run.path}: prediction sets need {FEWEST} validation images, and the run has {len(split)}"
        )
    features, logits = all_features(predictor, split)
    labels = split.labels.numpy()
    limits = fit_limits(logits, labels)
    if features is None:
        return limits, None
    seen = Seen(features, logits, labels)
    rows = torch.randperm(len(opened.train), generator=torch.Generator().manual_seed(derive(0, "ood")))[:MOST_TRAINING]
    training = opened.train.choose(rows)
    ood = fitted_ood(predictor, training, training.labels.numpy(), split, seen)
    if ood is None:
        return limits, None
    return replace(limits, ood_score=known_threshold(ood.scores(features, logits)), ood_rule=ood.rule), ood

"""Temperature, thresholds and out-of-distribution score of a network; those of a run are fitted once and kept in it."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from convwright.data import Dataset, Split
from convwright.errors import ArgumentError, ImagesChangedError
from convwright.files import digest
from convwright.prediction.features import MOST_TRAINING, all_features, fitted_ood
from convwright.prediction.stored_limits import NetworkLimits, read_file_limits, read_limits, write_limits
from convwright.seeds import derive
from convwright.stats.limits import FEWEST, Limits, fit_limits, known_threshold
from convwright.stats.ood_selection import Seen
from convwright.training.evaluation import batch_for
from convwright.training.records import DataFacts
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

if TYPE_CHECKING:
    from convwright.prediction.files import FilePredictor
    from convwright.prediction.network import Predictor

MOST_HELD = 2000
"""Most held-out images that limits are fitted on."""


class Labelled(NamedTuple):
    """Images with their classes."""

    images: torch.Tensor | Split
    """A split, or N x C x H x W, uint8."""
    labels: np.ndarray


def run_limits(run: Run, predictor: "Predictor", data: Dataset | None = None) -> NetworkLimits:
    """Return the limits of a run: from its directory if they are there, else fitted on its images and stored there.

    Its exported files in float have the same limits.

    Args:
        run: The run.
        predictor: Its network.
        data: The run's own images, if they have been opened already.

    Raises:
        ArgumentError: The run is multi-label, or has too few validation images.
        DataError: The run's data cannot be opened.
        ImagesChangedError: The run's data has changed since it was trained.
    """
    if predictor.multi_label:
        raise ArgumentError("coverage", "prediction sets are for networks that predict one class for each image")
    weights = digest(run.existing_weights())
    if (stored := read_limits(run.path)) is not None:
        return stored
    opened = _own_images(run, predictor, data)
    held = _sample(opened.val, MOST_HELD, "ood-val")
    found = fit_network_limits(predictor, held, _sample(opened.train, MOST_TRAINING, "ood"))
    write_limits(run.path, weights, found)
    return found


def selected_file_limits(predictor: "Predictor", selected: "FilePredictor") -> Limits:
    """Return the limits of an exported file without limits of its own that a run predicts with.

    A file in float has those of the run. Another one computes other logits: temperature and thresholds are fitted on
    them and stored beside the file. The out-of-distribution score is that of the run, computed in torch.

    Args:
        predictor: The run in torch.
        selected: The file, in the run's folder.

    Raises:
        ArgumentError: The run is multi-label, or has too few validation images.
        DataError: The run's data cannot be opened.
        ImagesChangedError: The run's data has changed since it was trained.
    """
    of_run, run = predictor.find_limits(), predictor.run
    if selected.is_float or run is None:
        return of_run
    folder, checksum = selected.path.parent, selected.card.checksum
    if (stored := read_file_limits(folder, checksum)) is not None:
        return stored
    held = _sample(_own_images(run, predictor).val, MOST_HELD, "ood-val")
    assert isinstance(held.images, Split)
    rows = torch.arange(len(held.images)).split(batch_for(predictor.network))
    logits = np.concatenate([selected.logits(held.images.take(some).numpy()) for some in rows])
    found = replace(fit_limits(logits, held.labels), ood_score=of_run.ood_score, ood_rule=of_run.ood_rule)
    write_limits(folder, checksum, (found, None))
    return found


def keep_without_score(run: Run, found: NetworkLimits) -> None:
    """Store the limits of a run without the out-of-distribution score, which its exported file cannot compute.

    Args:
        run: The run.
        found: Its limits.
    """
    limits, ood = found
    if ood is not None:
        write_limits(run.path, digest(run.existing_weights()), (replace(limits, ood_score=None, ood_rule=None), None))


def fit_network_limits(predictor: "Predictor", held: Labelled, training: Labelled | None) -> NetworkLimits:
    """Fit temperature and thresholds on held-out images, and the out-of-distribution score on training images.

    What the score is, is chosen on the held-out images.

    Args:
        predictor: The network.
        held: Held-out images.
        training: Training images; None: there is no such score.
    """
    features, logits = all_features(predictor, held.images)
    limits = fit_limits(logits, held.labels)
    if features is None or training is None:
        return limits, None
    seen = Seen(features, logits, held.labels)
    ood = fitted_ood(predictor, training.images, training.labels, held.images, seen)
    if ood is None:
        return limits, None
    return replace(limits, ood_score=known_threshold(ood.scores(features, logits)), ood_rule=ood.rule), ood


def check_unchanged(run: Run, data: Dataset) -> None:
    """Check that no image that a run was trained on can be among those that are held out now.

    Args:
        run: The run.
        data: What its data holds now.

    Raises:
        ImagesChangedError: The images or classes have changed since the run was trained.
    """
    if tuple(data.classes) != tuple(run.classes):
        raise ImagesChangedError(f"{run.path}: its images have other classes than when it was trained")
    if data.fingerprint != run.data.fingerprint:
        difference = run.data.difference(DataFacts.of(data))
        raise ImagesChangedError(f"{run.path}: its images are not those that it was trained on: {difference}")


def _own_images(run: Run, predictor: "Predictor", data: Dataset | None = None) -> Dataset:
    opened = open_run_data(run) if data is None else data
    check_unchanged(run, opened)
    if len(opened.val) < FEWEST:
        needed = f"prediction sets need {FEWEST} validation images, and the run has {len(opened.val)}"
        raise ArgumentError("coverage", f"{run.path}: {needed}")
    return opened


def _sample(split: Split, most: int, purpose: str) -> Labelled:
    """Return a random sample of a split, the same each time."""
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive(0, purpose)))[:most]
    chosen = split.choose(rows)
    return Labelled(chosen, chosen.labels.numpy())

"""Features of images: of a published network, of a run, of a small network that is trained here, or the pixels."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from convwright.arch import at
from convwright.brief import Brief
from convwright.curation.crossfit import CrossFit, cross_fit_network, cross_fit_regression, features_of
from convwright.curation.neighbours import NEIGHBOURS, Neighbours, nearest, reduced
from convwright.curation.pool import Pool
from convwright.data.dataset import CHUNK, Dataset
from convwright.data.opened import Data
from convwright.data.threads import Progress
from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.modules import build
from convwright.modules.devices import find_device
from convwright.prediction.network import load
from convwright.training.backbone import split
from convwright.training.initial_weights import find_initial_weights
from convwright.training.run import Run
from convwright.zoo.reading import is_network, read_network

PUBLISHED = "efficientnet_lite0"
"""The network whose published weights are installed with Convwright."""
TRAINED, PIXELS = "trained", "pixels"
SMALL = 40
"""Images of up to this many pixels a side do badly in networks that were trained on photographs."""
SIDE, SIDE_OF_TRAINED, SIDE_OF_PIXELS = 128, 64, 16
"""Height and width at which images are read for a published network, for a small network and as pixels."""


@dataclass(frozen=True)
class ImageFeatures(Brief):
    """The images of a data set with their features and predictions."""

    pool: Pool
    neighbours: Neighbours
    """The images that are the most similar to each image by these features."""
    fit: CrossFit | None
    """Cross-fitted predictions; None for multi-label data."""
    description: str
    """What the features are, in a line."""
    notes: tuple[str, ...] = ()
    """Why these features were chosen, and what they cannot do."""


def compute_features(
    data: Data, features: str | Path | Run | None, folds: int, seed: int, progress: Progress | None = None
) -> ImageFeatures:
    """Compute features of all images and cross-fitted predictions.

    Args:
        data: The images.
        features: Name of a network with published weights, a run or its directory, `trained` or `pixels`; None: what
            suits the images.
        folds: Number of folds of the predictions.
        seed: Seed of everything random.
        progress: Called with the number of steps done, their total and a description.

    Raises:
        ArgumentError: There are no such features.
        DataError: The data cannot be opened.
    """
    if isinstance(features, Run) or (features is not None and Path(features).expanduser().is_dir()):
        return _of_run(data, Run.of(features), folds, seed, progress)
    if features is None:
        return _chosen(data, folds, seed, progress)
    name = str(features)
    if name == TRAINED:
        return _trained(data, folds, seed, progress)
    if name == PIXELS:
        return _pixels(data, folds, seed, progress)
    if not is_network(name):
        raise ArgumentError(
            "features", f"{name!r} is neither a run nor a network; give one of them, {TRAINED} or {PIXELS}"
        )
    return _published(data, name, folds, seed, progress)


def _chosen(data: Data, folds: int, seed: int, progress: Progress | None) -> ImageFeatures:
    """Return the features that suit the images."""
    opened = data.dataset(largest=SIDE)
    if opened.channels == 1 or max(opened.size) <= SMALL:
        kind = "grey" if opened.channels == 1 else "small"
        why = f"the images are {kind}, which networks trained on photographs do not separate well"
    else:
        try:
            return _published(data, PUBLISHED, folds, seed, progress)
        except UsageError as error:  # the message has the command that installs the weights
            why = str(error)
    if opened.multi_label:
        return replace(_pixels(data, folds, seed, progress), notes=(why,))
    found = _trained(data, folds, seed, progress)
    return replace(found, notes=(*found.notes, why))


def _opened(data: Data, side: int) -> Dataset:
    """Return the images at a resolution that suits the features, unless the data has one."""
    opened = data.dataset(largest=side)
    return opened if data.resolution or min(opened.size) >= side else data.dataset(side)


def _finished(
    pool: Pool, features: np.ndarray, description: str, folds: int, seed: int, progress: Progress | None
) -> ImageFeatures:
    neighbours = nearest(reduced(features, seed), NEIGHBOURS, progress, seed=seed)
    if pool.images.multi_label:
        note = "multi-label data: only exact duplicates, near-duplicates and outliers are found"
        return ImageFeatures(pool, neighbours, None, description, (note,))
    return ImageFeatures(pool, neighbours, cross_fit_regression(features, pool, folds, seed, progress), description)


def _published(data: Data, name: str, folds: int, seed: int, progress: Progress | None) -> ImageFeatures:
    network = read_network(name)
    try:
        initial = find_initial_weights("pretrained", network)
    except ArgumentError:
        raise
    except UsageError as error:
        raise ArgumentError("features", str(error)) from None
    dataset = initial.normalised(_opened(data, SIDE))
    pool = Pool.of(dataset)
    module = build(at(network, resolution=dataset.resolution, channels=dataset.channels), seed=0)
    initial.load(module)
    backbone = split(module)[0].to(find_device("auto")).to(memory_format=torch.channels_last)
    found = features_of(backbone, pool, progress)
    return _finished(pool, found, f"{name} with published weights, {_size(dataset)}", folds, seed, progress)


def _of_run(data: Data, run: Run, folds: int, seed: int, progress: Progress | None) -> ImageFeatures:
    predictor = load(run, device="auto")
    dataset = data.dataset(run.network.resolution)
    if dataset.channels != predictor.channels:
        raise ArgumentError(
            "features", f"{run.path} reads images of {predictor.channels} channels, and these have {dataset.channels}"
        )
    pool = Pool.of(replace(dataset, mean=predictor.mean, std=predictor.std))
    found = features_of(split(predictor.module)[0], pool, progress)
    found_features = _finished(pool, found, f"the run {run.path}, {_size(dataset)}", folds, seed, progress)
    if run.data.fingerprint != dataset.fingerprint:
        return found_features
    note = "the run was trained on these labels, so that it hides some of their errors; other features find more"
    return replace(found_features, notes=(*found_features.notes, note))


def _trained(data: Data, folds: int, seed: int, progress: Progress | None) -> ImageFeatures:
    opened = data.dataset(largest=SIDE_OF_TRAINED)
    if opened.multi_label:
        raise ArgumentError("features", f"{TRAINED} needs single-label data; give a network, or {PIXELS}")
    pool = Pool.of(opened)
    fit = cross_fit_network(pool, folds, seed, progress)
    if fit.neighbours is None:
        raise ConvwrightError("no network was trained: the data has no images to train on")
    return ImageFeatures(pool, fit.neighbours, fit, f"small networks trained here, {_size(opened)}")


def _pixels(data: Data, folds: int, seed: int, progress: Progress | None) -> ImageFeatures:
    pool = Pool.of(data.dataset(largest=SIDE_OF_TRAINED))
    parts = []
    for rows in torch.arange(len(pool)).split(CHUNK):
        pixels = pool.images.take(rows).float() / 255
        parts.append(torch.nn.functional.adaptive_avg_pool2d(pixels, SIDE_OF_PIXELS).flatten(1))
    found = torch.cat(parts).numpy()
    return _finished(pool, found, f"pixels, {SIDE_OF_PIXELS} x {SIDE_OF_PIXELS}", folds, seed, progress)


def _size(data: Dataset) -> str:
    return f"{data.size[0]} x {data.size[1]} pixels"

"""Folds of a pool: parts, each of which is predicted by a model that was trained on the others."""

import numpy as np
import torch

from convwright.curation.pool import Pool
from convwright.data.dataset import CHUNK
from convwright.data.likeness import Clusters, thumbnail_of
from convwright.errors import ArgumentError
from convwright.seeds import derive

FEWEST_SEEN = 3
"""Images of a class that a model must have been trained on for its predictions of the class to count."""


def assign_folds(pool: Pool, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each image, 0 to `folds` less 1, and -1 for test images: stratified by class.

    Images of one group are in one fold, and so are images with equal or nearly equal pixels: otherwise a model would
    be trained on copies of the images that it predicts, with their labels. If too few folds could be filled, nearly
    equal images may be in different folds.

    Args:
        pool: The images.
        folds: Number of folds.
        seed: Seed of the assignment.

    Raises:
        ArgumentError: There are fewer groups than folds.
    """
    found = np.full(len(pool), -1)
    learnable = pool.learnable
    groups = [pool.group(one) or "" for one in learnable.tolist()]
    for names in (_clusters(pool, learnable, groups), groups):
        found[learnable] = folds_of(pool.labels[learnable], folds, seed, names)
        if len(np.unique(found[learnable])) == folds:
            return found
    raise ArgumentError("folds", f"{folds} are more than there are groups of images; use fewer")


def folds_of(labels: np.ndarray, folds: int, seed: int, clusters: list[str] | None = None) -> np.ndarray:
    """Return the fold of each label, 0 to `folds` less 1: stratified by class, and balanced in size.

    Args:
        labels: int64, N.
        folds: Number of folds.
        seed: Seed of the order within a class.
        clusters: Name of the set of images that each image stays together with, empty for an image alone; None: there
            are no such sets.
    """
    order = np.random.default_rng(derive(seed, "curation folds")).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    together: dict[str | int, list[int]] = {}
    for row in order.tolist():
        together.setdefault((clusters[row] if clusters else "") or row, []).append(row)
    given = labels.tolist()
    sizes, of_class = [0] * folds, [[0] * (max(given, default=0) + 1) for _ in range(folds)]
    found = np.empty(len(labels), np.int64)
    for rows in sorted(together.values(), key=lambda rows: -len(rows)):
        fold = min(range(folds), key=lambda each: (sum(of_class[each][given[row]] for row in rows), sizes[each]))
        found[rows] = fold
        sizes[fold] += len(rows)
        for row in rows:
            of_class[fold][given[row]] += 1
    return found


def are_judgeable(labels: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Return whether every model that predicts an image was trained on `FEWEST_SEEN` images of its class, bool N.

    Args:
        labels: int64, N.
        fold_of: Fold of each image; -1 for test images, which the models of all folds predict.
    """
    classes, numbers = int(labels.max(initial=0)) + 1, fold_of.max(initial=0) + 1
    counts = np.stack([np.bincount(labels[fold_of == fold], minlength=classes) for fold in range(numbers)])
    seen = counts.sum(0) - counts
    fewest = np.where(fold_of < 0, seen.min(0)[labels], seen[fold_of, labels])
    enough: np.ndarray = fewest >= FEWEST_SEEN
    return enough


def _clusters(pool: Pool, positions: np.ndarray, groups: list[str]) -> list[str]:
    """Return a name for each set of images that share a group or show nearly the same; empty for an image alone."""
    images = pool.images.choose(torch.from_numpy(positions))
    digests = images.traits().digests.numpy()
    clusters, thumbnails = Clusters(len(images)), []
    for rows in torch.arange(len(images)).split(CHUNK):
        for row, pixels in zip(rows.tolist(), images.take(rows).numpy(), strict=True):
            clusters.join(row, [("pixels", digests[row].tobytes()), *([("group", groups[row])] if groups[row] else [])])
            thumbnails.append(thumbnail_of(pixels if len(pixels) == 3 else np.repeat(pixels, 3, 0)))
    clusters.join_alike(np.stack(thumbnails))
    return [str(clusters.first_of(row)) if size > 1 else "" for row, size in enumerate(clusters.sizes())]

"""Nearest neighbours by cosine similarity, in blocks: no matrix of all pairs is ever held."""

from dataclasses import dataclass

import numpy as np
import torch

from convwright.brief import Brief
from convwright.curation.crossfit import Progress
from convwright.seeds import derive

BLOCK = 2048
"""Rows and columns of a block of similarities: 16 MB."""
DIRECTIONS = 128
"""Principal directions that are kept of features: more would cost time and change few neighbours."""
SAMPLE = 20_000
"""Images from which the principal directions are computed."""


@dataclass(frozen=True)
class Neighbours(Brief):
    """The nearest other images of each image, the nearest first."""

    positions: np.ndarray
    """N x k, int64."""
    similarities: np.ndarray
    """N x k, float32: cosines, at most 1."""


def reduced(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return features as unit vectors in their principal directions, float32.

    Args:
        features: N x D, of any mean and scale.
        seed: Seed of the sample from which the directions are computed.
    """
    random = np.random.default_rng(derive(seed, "curation directions"))
    rows = np.arange(len(features))
    if len(features) > SAMPLE:
        rows = np.sort(random.choice(len(features), SAMPLE, replace=False))
    sample = torch.from_numpy(features[rows].astype(np.float32))
    middle = sample.mean(0)
    values = torch.from_numpy(features).float() - middle
    if features.shape[1] > DIRECTIONS:
        centred = sample - middle
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
        values = values @ vectors[:, -DIRECTIONS:]
    return torch.nn.functional.normalize(values).numpy()


def nearest(
    vectors: np.ndarray, count: int, progress: Progress | None = None, description: str = "comparing images"
) -> Neighbours:
    """Return the nearest other images of each image by the cosine of their vectors.

    The memory grows with the number of images alone: N x `count` results and one block of similarities. Of equal
    similarities, those of the first images are kept.

    Args:
        vectors: N x D unit vectors, float32.
        count: Neighbours of an image; fewer where there are fewer other images.
        progress: Called with the number of images done, their total and a description.
        description: What the progress shows.
    """
    total = len(vectors)
    count = min(count, total - 1)
    if count < 1:
        return Neighbours(np.empty((total, 0), np.int64), np.empty((total, 0), np.float32))
    all_vectors = torch.from_numpy(vectors)
    positions = np.empty((total, count), np.int64)
    similarities = np.empty((total, count), np.float32)
    for start in range(0, total, BLOCK):
        rows = all_vectors[start : start + BLOCK]
        best = torch.full((len(rows), count), -2.0)
        best_at = torch.full((len(rows), count), -1)
        for column in range(0, total, BLOCK):
            products = rows @ all_vectors[column : column + BLOCK].T
            if column == start:
                products.fill_diagonal_(-3.0)
            some, at = products.topk(min(count, products.shape[1]))
            best, kept = torch.cat([best, some], 1).topk(count)
            best_at = torch.cat([best_at, at + column], 1).gather(1, kept)
        positions[start : start + len(rows)] = best_at.numpy()
        similarities[start : start + len(rows)] = best.clamp(max=1).numpy()
        if progress:
            progress(min(start + BLOCK, total), total, description)
    return Neighbours(positions, similarities)


def thumbnails_as_vectors(pixels: torch.Tensor, side: int = 12) -> np.ndarray:
    """Return small grey copies of images as unit vectors, whose cosines are correlations of the images' pixels.

    Args:
        pixels: uint8, N x C x H x W.
        side: Height and width of the copies.
    """
    grey = pixels.float().mean(1, keepdim=True)
    small = torch.nn.functional.adaptive_avg_pool2d(grey, side).flatten(1)
    return torch.nn.functional.normalize(small - small.mean(1, keepdim=True)).numpy()

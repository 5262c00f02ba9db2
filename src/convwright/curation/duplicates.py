"""Duplicates: exact ones, of equal pixels, and near-duplicates, of other size, compression, brightness or mirroring."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from convwright.brief import Brief
from convwright.curation.neighbours import Neighbours
from convwright.curation.pool import Pool
from convwright.data.threads import Progress

SIDE = 32
"""Height and width of the copies whose pixels are compared; smaller images are compared as they are."""
PAIRS = 512
"""Pairs that are compared at a time."""
CANDIDATES = 5
"""Nearest images of an image whose pixels are compared with its own."""
MIN_CORRELATION = 0.95
"""Smallest correlation of the pixels of near-duplicates."""
MAX_INEXACT_CORRELATION = 0.9999
"""Largest correlation of images whose pixels are not equal; rounding would give more."""
MAX_DISTANCE_SHARE = 0.1
"""Largest distance of near-duplicates, as a share of the median distance of an image from its nearest image: where all
images are alike, as digits are, near-duplicates must be more alike still."""
CONFIDENT_CORRELATION, CONFIDENT_DISTANCE_SHARE = 0.99, 0.05
"""The same for images that are certainly near-duplicates."""
MAX_EQUAL_PAIRS = 50
"""Images with equal pixels that each such image is paired with; more would take quadratic time."""
MIN_CONTRAST_RATIO = 0.5
"""Smallest contrast of an image, as a share of that of its near-duplicate: a white disc is no black one."""
CONTRAST = 2.0
"""Standard deviation of pixel values, of 255, below which an image is empty and resembles every empty one."""
DETAIL, DETAILED = 0.5, 0.5
"""Standard deviation below which an image has no details, and smallest correlation of details of near-duplicates."""


@dataclass(frozen=True)
class Duplicates(Brief):
    """Pairs of images that show the same."""

    links: dict[int, dict[int, float]]
    """For each image in a pair, the correlation of its pixels with those of each image that shows the same: 1 where
    they are equal."""
    confident_correlation: float = CONFIDENT_CORRELATION
    """Correlation from which images are certainly near-duplicates."""

    def choose_kept(self, rank: Callable[[int], tuple[float, ...]]) -> dict[int, int]:
        """Choose which images are kept, and return the most similar kept image of each other image.

        No two kept images are duplicates, and each other image is a duplicate of a kept one.

        Args:
            rank: Rank of an image; images of higher rank are kept.
        """
        kept: set[int] = set()
        found: dict[int, int] = {}
        for one in sorted(self.links, key=rank, reverse=True):
            duplicates = [other for other in self.links[one] if other in kept]
            if duplicates:
                found[one] = max(duplicates, key=lambda other: (self.links[one][other], -other))
            else:
                kept.add(one)
        return found


def find_duplicates(pool: Pool, neighbours: Neighbours, progress: Progress | None = None) -> Duplicates:
    """Return the pairs of images whose pixels agree.

    Images with equal pixels are found by their digests, others among the nearest neighbours: their pixels are
    correlated, shifted by one pixel of a small copy in each direction, and mirrored.

    Args:
        pool: The images.
        neighbours: Their nearest neighbours by features.
        progress: Called with the number of pairs done, their total and a description.
    """
    near = neighbours.positions[:, :CANDIDATES]
    pairs = np.stack([np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()], 1)
    pairs = np.unique(np.sort(pairs, 1), axis=0)
    found = correlations_of(pool, pairs, progress)
    equal = _equal_pairs(pool)
    usual = _usual_distance(len(pool), pairs, found)
    kept = found >= max(MIN_CORRELATION, 1 - MAX_DISTANCE_SHARE * usual)
    joined, values = np.concatenate([equal, pairs[kept]]), np.concatenate([np.ones(len(equal)), found[kept]])
    links: dict[int, dict[int, float]] = {}
    for (first, second), value in zip(joined.tolist(), values.tolist(), strict=True):
        for one, other in ((first, second), (second, first)):
            links.setdefault(one, {}).setdefault(other, value)
    return Duplicates(links, max(CONFIDENT_CORRELATION, 1 - CONFIDENT_DISTANCE_SHARE * usual))


def correlations_of(pool: Pool, pairs: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """Return the correlation of the pixels of each pair of images, float32: the largest over shifts and mirroring.

    Args:
        pool: The images.
        pairs: Positions, P x 2.
        progress: Called with the number of pairs done, their total and a description.
    """
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIRS):
        some = torch.from_numpy(pairs[start : start + PAIRS])
        found[start : start + len(some)] = _agreement(_small(pool, some[:, 0]), _small(pool, some[:, 1])).numpy()
        if progress:
            progress(min(start + PAIRS, len(pairs)), len(pairs), "comparing pixels")
    return found


def _small(pool: Pool, positions: torch.Tensor) -> torch.Tensor:
    pixels = pool.images.take(positions).float()
    height, width = (min(SIDE, each) for each in pixels.shape[2:])
    return torch.nn.functional.adaptive_avg_pool2d(pixels, (height, width))


def _agreement(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the largest correlation over shifts and mirroring at which the details agree too."""
    height, width = first.shape[2:]
    cut = 2 if min(height, width) > 4 else 0
    inner = first[:, :, cut // 2 : height - cut // 2, cut // 2 : width - cut // 2]
    whole, detail = _unit(inner), _unit(_details(inner), DETAIL)
    contrasts = first.flatten(1).std(1), second.flatten(1).std(1)
    alike = torch.minimum(*contrasts) >= MIN_CONTRAST_RATIO * torch.maximum(*contrasts)
    best = torch.full((len(first),), -1.0)
    for other in (second, second.flip(3)):
        for down in range(cut + 1):
            for right in range(cut + 1):
                moved = other[:, :, down : height - cut + down, right : width - cut + right]
                agrees = (detail * _unit(_details(moved), DETAIL)).sum(1) >= DETAILED
                agrees &= alike
                best = torch.where(agrees, torch.maximum(best, (whole * _unit(moved)).sum(1)), best)
    return best.clamp(max=MAX_INEXACT_CORRELATION)


def _details(pixels: torch.Tensor) -> torch.Tensor:
    """Return images without their smooth part, which many images share, such as a sky."""
    smooth = torch.nn.functional.avg_pool2d(pixels, 5, stride=1, padding=2, count_include_pad=False)
    return pixels - smooth


def _unit(pixels: torch.Tensor, least: float = CONTRAST) -> torch.Tensor:
    """Return images as vectors of mean 0 and length 1; of length 0 where they have no contrast."""
    flat = pixels.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    return torch.where(length > least * flat.shape[1] ** 0.5, flat / length.clamp(min=1e-6), torch.zeros(()))


def _usual_distance(images: int, pairs: np.ndarray, correlations: np.ndarray) -> float:
    """Return the median over images of 1 minus the correlation with the image that agrees best."""
    if not len(pairs):
        return 1.0
    best = np.full(images, -1.0)
    for side in (0, 1):
        np.maximum.at(best, pairs[:, side], correlations)
    return float(1 - np.median(best))


def _equal_pairs(pool: Pool) -> np.ndarray:
    """Return pairs of images with equal pixels, P x 2; of many equal ones, each with the first ones."""
    digests = np.ascontiguousarray(pool.images.traits().digests.numpy())
    keys = digests.view(np.dtype((np.void, digests.shape[1]))).ravel()
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = {}
    for position in np.flatnonzero(counts[inverse.ravel()] > 1).tolist():
        groups.setdefault(int(inverse.ravel()[position]), []).append(position)
    pairs = [
        (earlier, later)
        for group in groups.values()
        for place, later in enumerate(group)
        for earlier in group[: min(place, MAX_EQUAL_PAIRS)]
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)

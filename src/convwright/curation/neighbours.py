"""Nearest neighbours by cosine similarity, in blocks: no matrix of all pairs is ever held."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from convwright.brief import Brief
from convwright.data.threads import Progress
from convwright.errors import warn
from convwright.seeds import derive

NEIGHBOURS = 10
"""Most similar images that an image is compared with."""
BLOCK = 2048
"""Rows and columns of a block of similarities: 16 MB."""
DIRECTIONS = 128
"""Principal directions that are kept of features: more would cost time and change few neighbours."""
SAMPLE = 20_000
"""Images from which the principal directions are computed."""
MOST_PAIRS = 2**38
"""Most pairs of vectors that are all compared, those of half a million images; of more, the search is approximate."""
PART, SEARCHES = 4096, 6
"""Largest part of the vectors within which an approximate search compares all pairs, and number of such searches, each
with other parts."""
LONG = 600
"""Seconds from which on the expected duration of the comparison is reported."""


@dataclass(frozen=True)
class Neighbours(Brief):
    """The nearest other images of each image, the nearest first."""

    positions: np.ndarray
    """N x k, int64."""
    similarities: np.ndarray
    """N x k, float32: cosines, at most 1."""
    space_of: np.ndarray | None = None
    """Number of the feature space in which each image was compared, int64 N: similarities of different spaces are not
    comparable. None: one space."""
    exact: bool = True
    """Whether all pairs were compared; otherwise less similar images take the places of some neighbours."""


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
    vectors: np.ndarray,
    count: int,
    progress: Progress | None = None,
    description: str = "comparing images",
    rows: np.ndarray | None = None,
    seed: int = 0,
) -> Neighbours:
    """Return the nearest other images of images by the cosine of their vectors.

    The memory grows with the number of images alone: N x `count` results and one block of similarities. Of equal
    similarities, those of the first images are kept. With more than `MOST_PAIRS` pairs, only vectors on the same side
    of random hyperplanes are compared, so that the time hardly grows faster than the number of images.

    Args:
        vectors: N x D unit vectors, float32.
        count: Neighbours of an image; fewer where there are fewer other images.
        progress: Called with the number of images done, their total and a description.
        description: What the progress shows.
        rows: Images whose neighbours are returned, in this order; None: all.
        seed: Seed of the hyperplanes.
    """
    rows = np.arange(len(vectors)) if rows is None else rows
    count = max(0, min(count, len(vectors) - 1))
    exact = len(rows) * len(vectors) <= MOST_PAIRS
    if not count or not len(rows):
        return Neighbours(np.empty((len(rows), count), np.int64), np.empty((len(rows), count), np.float32))
    values, chosen = torch.from_numpy(vectors), torch.from_numpy(rows)
    search = _search_all(values, chosen, count) if exact else _search_parts(values, chosen, count, seed)
    started, expected = time.perf_counter(), 0.0
    best = torch.full((len(rows), count), -2.0)
    best_at = torch.full((len(rows), count), -1)
    for done, places, some, at in search:
        known = (at[:, :, None] == best_at[places, None]).any(2)
        joined, kept = torch.cat([best[places], some.masked_fill(known, -3.0)], 1).topk(count)
        best_at[places] = torch.cat([best_at[places], at], 1).gather(1, kept)
        best[places] = joined
        seconds = time.perf_counter() - started
        if not expected and seconds / done > LONG:
            expected = seconds / done
            warn(f"comparing {len(vectors):,} images with each other takes about {expected / 60:.0f} minutes")
        if progress:
            progress(round(done * len(rows)), len(rows), description)
    return Neighbours(best_at.numpy(), best.clamp(max=1).numpy(), exact=exact)


def joined(parts: Sequence[Neighbours], part_of: np.ndarray) -> Neighbours:
    """Return the neighbours of all images, each compared in one of several feature spaces.

    Args:
        parts: For each space, the neighbours of the images that were compared in it.
        part_of: Number of each image's space, int64 N.
    """
    positions = np.empty((len(part_of), parts[0].positions.shape[1]), np.int64)
    similarities = np.empty(positions.shape, np.float32)
    for number, part in enumerate(parts):
        positions[part_of == number], similarities[part_of == number] = part.positions, part.similarities
    return Neighbours(positions, similarities, part_of, all(part.exact for part in parts))


Found = tuple[float, torch.Tensor, torch.Tensor, torch.Tensor]
"""Share of a search that is done; places in the rows; their largest similarities, and the positions of those."""


def _search_all(vectors: torch.Tensor, rows: torch.Tensor, count: int) -> Iterator[Found]:
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        places = torch.arange(start, start + len(some))
        own = vectors[some]
        for column in range(0, len(vectors), BLOCK):
            columns = torch.arange(column, min(column + BLOCK, len(vectors)))
            best, at = _most_similar(own @ vectors[columns[0] : columns[-1] + 1].T, some, columns, count)
            yield (start + len(some) * int(columns[-1] + 1) / len(vectors)) / len(rows), places, best, at


def _search_parts(vectors: torch.Tensor, rows: torch.Tensor, count: int, seed: int) -> Iterator[Found]:
    """Search several times within parts: halves of halves, divided at the median in a random direction."""
    place_of = torch.full((len(vectors),), -1)
    place_of[rows] = torch.arange(len(rows))
    largest = max(PART, 4 * (count + 1))
    levels = max(1, (len(vectors) // largest).bit_length())
    done = 0
    for number in range(SEARCHES):
        random = np.random.default_rng(derive(seed, "curation parts", number))
        directions = torch.from_numpy(random.normal(size=(vectors.shape[1], levels)).astype(np.float32))
        sides = (vectors @ directions).numpy()
        waiting = [(np.arange(len(vectors)), 0)]
        while waiting:
            part, level = waiting.pop()
            if len(part) > largest and level < levels:
                halves = np.array_split(part[np.argsort(sides[part, level], kind="stable")], 2)
                waiting += [(half, level + 1) for half in halves]
                continue
            done += len(part)
            members = torch.from_numpy(np.sort(part))
            chosen = members[place_of[members] >= 0]
            for some in chosen.split(BLOCK):
                best, at = _most_similar(vectors[some] @ vectors[members].T, some, members, count)
                yield done / (SEARCHES * len(vectors)), place_of[some], best, at


def _most_similar(
    similarities: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest similarities of each row to other images, and their positions; columns must ascend."""
    place = torch.searchsorted(columns, rows).clamp(max=len(columns) - 1)
    own = torch.nonzero(columns[place] == rows).flatten()
    similarities[own, place[own]] = -3.0
    best, at = similarities.topk(min(count, len(columns)))
    return best, columns[at]

"""Stratified splits, which depend on seed, labels and groups only."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from convwright.errors import DataError
from convwright.seeds import derive


def stratified_split(
    labels: torch.Tensor, share: float, seed: int, purpose: str = "validation"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows to keep and the rows to hold out, each ascending.

    A share of each class is held out, rounded, at least one sample; at least one is kept.
    """
    generator = torch.Generator().manual_seed(derive(seed, purpose))
    shuffled = torch.randperm(len(labels), generator=generator)
    held = torch.zeros(len(labels), dtype=torch.bool)
    order = torch.argsort(labels[shuffled], stable=True)
    classes, counts = torch.unique_consecutive(labels[shuffled[order]], return_counts=True)
    for label, rows in zip(classes.tolist(), shuffled[order].split(counts.tolist()), strict=True):
        if len(rows) < 2:
            raise ValueError(f"class {label} has one sample, which cannot be in both parts")
        held[rows[: min(max(round(share * len(rows)), 1), len(rows) - 1)]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def held_out_rows(
    labels: torch.Tensor, share: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows to train on and the rows to validate on, each ascending; groups stay together.

    Args:
        labels: int64 N, or bool N x classes.
        share: Share of the images to validate on.
        seed: Seed of the choice.
        groups: Group of each image, empty for images of no group; None: there are no groups.

    Raises:
        DataError: The groups leave one of the two without images.
    """
    if labels.ndim == 1 and groups is None:
        return stratified_split(labels, share, seed)
    parts = assign_parts(labels, (1 - share, share), seed, "validation", groups)
    kept, held = torch.nonzero(parts == 0).flatten(), torch.nonzero(parts == 1).flatten()
    if len(held):
        return kept, held
    rows = _smallest_group(labels, groups or [""] * len(labels))
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[rows] = True
    return torch.nonzero(~mask).flatten(), torch.nonzero(mask).flatten()


def _smallest_group(labels: torch.Tensor, groups: Sequence[str]) -> list[int]:
    """Return the rows of the smallest group without which every class still has images.

    Raises:
        DataError: There is none.
    """
    several = labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels)
    totals = several.sum(0)
    members: dict[str | int, list[int]] = {}  # an image of no group is one of its own
    for row, group in enumerate(groups):
        members.setdefault(group or row, []).append(row)
    for rows in sorted(members.values(), key=len):
        counts = several[rows].sum(0)
        if bool((totals[counts > 0] > counts[counts > 0]).all()):
            return rows
    raise DataError("no group can be held out to validate on, as each has all images of a class; use more groups")


def assign_parts(
    labels: torch.Tensor, shares: Sequence[float], seed: int, purpose: str, groups: Sequence[str] | None = None
) -> torch.Tensor:
    """Assign images to parts, such as training and test images, or folds.

    Each class is distributed by the shares. Images of one group are in one part. The first images of a class, or its
    first group, are in the first part, if the parts' shares differ. The work is linear in images and labels.

    Args:
        labels: int64 N, or bool N x classes.
        shares: Share of each part; their sum is 1.
        seed: Seed of the assignment.
        purpose: What the parts are for; another purpose has another assignment.
        groups: Group of each image, empty for images of no group; None: there are no groups.

    Returns:
        The part of each image, int64 N.
    """
    rng = np.random.default_rng(derive(seed, purpose) % 2**63)
    given = labels.numpy()
    filling = _Filling(given, np.asarray(shares, np.float64))
    alone = np.ones(len(given), bool)
    if groups is not None:
        members: dict[str, list[int]] = {}
        for row, group in enumerate(groups):
            if group:
                members.setdefault(group, []).append(row)
        several = [np.asarray(rows) for rows in members.values() if len(rows) > 1]
        shuffled = rng.permutation(len(several))
        # Large groups first, as small ones can still even out the shares; of similar sizes, in random order.
        for place in sorted(shuffled.tolist(), key=lambda place: -len(several[place]).bit_length()):
            filling.add(several[place])
            alone[several[place]] = False
    rows = rng.permutation(np.flatnonzero(alone))
    if given.ndim == 2:
        for row in _rarest_first(given, rows):
            filling.add(np.asarray([row]))
    else:
        filling.add_singly(rows)
    return torch.from_numpy(filling.parts)


def _rarest_first(labels: np.ndarray, rows: np.ndarray) -> Iterator[int]:
    """Yield the rows by the frequency of their rarest label, rare ones first (Sechidis 2011)."""
    totals = labels.sum(0)
    rarest = np.where(labels[rows], totals, len(labels) + 1).min(1)
    yield from rows[np.argsort(rarest, kind="stable")].tolist()


class _Filling:
    """Parts that are being filled."""

    def __init__(self, labels: np.ndarray, shares: np.ndarray) -> None:
        self.labels, self.shares = labels, shares
        self.parts = np.full(len(labels), -1, np.int64)
        if labels.ndim == 2:
            self.totals = labels.sum(0).astype(np.float64)
        else:
            self.totals = np.bincount(labels, minlength=1).astype(np.float64)
        self.need = shares[:, None] * self.totals
        """Images of each class that each part still lacks."""
        self.room = shares * len(labels)
        """Images that each part still lacks."""
        self.first_is_special = bool(shares.max() > shares.min())

    def add(self, rows: np.ndarray) -> None:
        """Put images into one part: of those with room, the one that lacks the largest share of their classes."""
        if self.labels.ndim == 2:
            counts = self.labels[rows].sum(0)
            classes = np.flatnonzero(counts)
            counts = counts[classes]
        else:
            classes, counts = np.unique(self.labels[rows], return_counts=True)
        if len(classes):
            lacking = (self.need[:, classes] * (counts / self.totals[classes])).sum(1) / (self.shares * counts.sum())
        else:
            lacking = self.room / self.shares
        new = len(classes) and bool((self.need[:, classes].sum(0) >= self.totals[classes] - 1e-6).any())
        if self.first_is_special and new:
            part = 0
        else:
            fits = self.room >= len(rows) / 2
            part = int(np.argmax(np.where(fits, lacking, -np.inf) if fits.any() else self.room))
        self.parts[rows] = part
        self.need[part, classes] -= counts
        self.room[part] -= len(rows)

    def add_singly(self, rows: np.ndarray) -> None:
        """Put images of one label into parts, each class by what the parts lack of it."""
        order = rows[np.argsort(self.labels[rows], kind="stable")]
        ends = np.cumsum(np.bincount(self.labels[rows], minlength=len(self.totals)))
        for label, end in enumerate(ends):
            some = order[ends[label - 1] if label else 0 : end]
            if not len(some):
                continue
            lacking = np.clip(self.need[:, label], 0, None)
            shares = lacking / lacking.sum() if lacking.sum() > 0 else self.shares
            sizes = self._sizes(len(some), shares, fresh=len(some) == self.totals[label])
            self.parts[some] = np.repeat(np.arange(len(sizes)), sizes)
            self.need[:, label] -= sizes
            self.room -= sizes

    def _sizes(self, count: int, shares: np.ndarray, *, fresh: bool) -> np.ndarray:
        """Return how many of a class's images each part gets.

        Args:
            count: Number of images.
            shares: Share of each part.
            fresh: Whether no part has images of the class: then each gets one, the first ones first.
        """
        exact = shares * count
        sizes = np.floor(exact + 1e-9).astype(np.int64)
        rest = exact - sizes
        order = sorted(range(len(sizes)), key=lambda part: (-round(float(rest[part]), 6), -self.room[part], part))
        sizes[order[: count - int(sizes.sum())]] += 1
        if fresh:
            for part in range(min(count, len(sizes))):
                if not sizes[part]:
                    sizes[int(np.argmax(sizes))] -= 1
                    sizes[part] += 1
        return sizes

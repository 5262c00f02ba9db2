"""A data set in memory: uint8 images, their labels, and the statistics that normalise them."""

import hashlib
import math
from dataclasses import dataclass

import torch

CHUNK = 4096  # images handled at a time where a whole split would need a large intermediate


@dataclass(frozen=True)
class Split:
    """Square images of one size, with their labels."""

    images: torch.Tensor
    """N x C x H x W, uint8."""
    labels: torch.Tensor
    """N, int64."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def resolution(self) -> int:
        """Height and width of every image."""
        return self.images.shape[-1]


@dataclass(frozen=True)
class Parts:
    """What a source or a folder holds, before a validation split is made and statistics are taken."""

    classes: tuple[str, ...]
    train: Split
    val: Split | None
    test: Split | None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """What a network learns from. Only evaluation may look at ``test``."""

    name: str
    """What the user gave: a folder or the name of a source."""
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None
    mean: tuple[float, ...]
    """Of each channel of ``train``, on the scale 0 to 1; and ``std`` likewise."""
    std: tuple[float, ...]
    fingerprint: str
    """A digest of all images, labels and classes: the same data, the same fingerprint."""
    skipped: tuple[str, ...] = ()
    """One line for each file or folder that was left out, and why."""
    default_flip: bool = True
    """Does a mirrored image still show its class? Not so for digits."""

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def resolution(self) -> int:
        """Height and width of every image."""
        return self.train.resolution

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Turn uint8 images into floats of mean 0 and standard deviation 1 in each channel."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return (images - mean * 255).div_(std * 255)


def keep(split: Split, rows: torch.Tensor) -> Split:
    """Return the split with these rows (ascending) only, in the memory of the one given, which is used up.

    A copy would need twice the memory, and the images may fill more than half of it.
    """
    start = 0
    for chunk in torch.split(rows, CHUNK):
        split.images[start : start + len(chunk)] = split.images[chunk]
        start += len(chunk)
    return Split(split.images[:start], split.labels[rows])


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and standard deviation on the scale 0 to 1.

    They come from exact counts of the 256 values, so neither order nor rounding plays a part.
    """
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for chunk in torch.split(images, CHUNK):
        for channel, values in enumerate(chunk.unbind(1)):
            counts[channel] += torch.bincount(values.flatten(), minlength=256)
    means, deviations = [], []
    for histogram in counts.tolist():
        total = sum(histogram)
        mean = sum(value * count for value, count in enumerate(histogram)) / total
        variance = sum((value - mean) ** 2 * count for value, count in enumerate(histogram)) / total
        means.append(mean / 255)
        # A channel that is constant has nothing to scale; it must not divide by zero either.
        deviations.append(math.sqrt(variance) / 255 or 1.0)
    return tuple(means), tuple(deviations)


def fingerprint(classes: tuple[str, ...], *splits: Split | None) -> str:
    """Return a hex digest over all that the splits hold."""
    digest = hashlib.blake2b(repr(classes).encode("utf-8", "backslashreplace"), digest_size=16)
    for split in splits:
        digest.update(repr(None if split is None else tuple(split.images.shape)).encode())
        if split is not None:
            for tensor in (split.images, split.labels):
                digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()

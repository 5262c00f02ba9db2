"""A data set: uint8 images in memory or in a mapped file, their labels, and statistics for normalisation."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from convwright.arch.resolution import Resolution, resolution_of
from convwright.brief import Brief
from convwright.data.digests import DIGEST_BYTES, digest, moments_of
from convwright.data.framing import Framing
from convwright.data.memory import USABLE, available_memory
from convwright.data.packed_names import PackedNames
from convwright.data.skipped import SkippedFiles
from convwright.data.stores import PixelStore
from convwright.errors import ConvwrightError, DataTooLargeError

CHUNK = 1024  # images handled at a time where a whole split would need a large intermediate
CACHED_VALUES = 2**19
SMALL = 2**28  # bytes of images for which the free memory is not measured


@dataclass(frozen=True)
class Traits(Brief):
    """Digest and moments of each image, from which fingerprint and statistics of any subset follow.

    The cache stores those of a folder's images, so that opening the folder again reads no pixels.
    """

    digests: torch.Tensor
    """N x 16, uint8: digest of the pixels of each image."""
    moments: torch.Tensor
    """N x 2 x C, int64: the sums of the values of each channel and of their squares."""

    @classmethod
    def of(cls, images: torch.Tensor) -> "Traits":
        """Compute the traits of images, N x C x H x W."""
        digests = [digest(image) for image in images.contiguous().numpy()]
        moments = [moments_of(chunk.numpy()) for chunk in torch.split(images, CHUNK)]
        return cls(
            torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, DIGEST_BYTES),
            torch.from_numpy(np.concatenate(moments)),
        )


@dataclass(frozen=True)
class Split(Brief):
    """Images of one size with their labels: some rows of a store, which several splits may share.

    The store may be larger than the memory, or hold files that are decoded when they are read. `take` reads some of
    the images, `images` all.
    """

    store: torch.Tensor | PixelStore
    """M x C x H x W, uint8: in memory, in a mapped file, or read one by one. It is never changed."""
    labels: torch.Tensor
    """int64 N; for multi-label data, bool N x classes."""
    rows: torch.Tensor | None = None
    """Rows of the N images in the store, int64; None: the store holds exactly these images, in order."""
    known: Traits | None = None
    """Traits of the N images; None: not computed yet."""
    names: Sequence[str] | None = None
    """Names of the N images' files; None for images without files."""
    weights: torch.Tensor | None = None
    """Weight of each image in the loss, float32 N; None: all are 1."""
    groups: Sequence[str] | None = None
    """Name of the group of each image, such as a patient or a place; None: there are no groups."""
    larger: "Split | None" = None
    """The same images at a larger size, from which random resized crops are cut; None: there are none."""

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        height, width = self.size
        side = width if height == width else f"{height}x{width}"
        return {"images": len(self), "channels": self.channels, "resolution": side}

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> torch.Tensor:
        """All images, N x C x H x W, in memory: for small sets.

        Raises:
            DataTooLargeError: They do not fit into memory.
        """
        if isinstance(self.store, torch.Tensor) and self.rows is None:
            return self.store
        self._check_fits()
        return self.take(torch.arange(len(self)))

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels."""
        return self.labels.ndim == 2

    def label_sets(self) -> list[tuple[int, ...]]:
        """Return the classes of each image as a tuple, of one class where images have one label."""
        if self.multi_label:
            return [tuple(np.flatnonzero(row).tolist()) for row in self.labels.numpy()]
        return [(label,) for label in self.labels.tolist()]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self.store.shape[-2], self.store.shape[-1]

    @property
    def resolution(self) -> int:
        """Height and width of every image, where they are square.

        Raises:
            ConvwrightError: They are not.
        """
        height, width = self.size
        if height != width:
            raise ConvwrightError(f"the images are {height} x {width} pixels, and only square images have one side")
        return width

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.store.shape[1]

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """Return a copy of the images at these positions of the split."""
        rows = positions if self.rows is None else self.rows[positions]
        return self.store.index_select(0, rows) if isinstance(self.store, torch.Tensor) else self.store.read(rows)

    def class_counts(self, classes: int) -> torch.Tensor:
        """Return the number of images of each class, int64.

        Args:
            classes: Number of classes.
        """
        return self.labels.sum(0) if self.multi_label else torch.bincount(self.labels, minlength=classes)

    def choose(self, positions: torch.Tensor) -> "Split":
        """Return the split of the samples at these positions, over the same store."""
        return Split(
            store=self.store,
            labels=self.labels[positions],
            rows=positions if self.rows is None else self.rows[positions],
            known=self.known and Traits(self.known.digests[positions], self.known.moments[positions]),
            names=_chosen(self.names, positions),
            weights=None if self.weights is None else self.weights[positions],
            groups=_chosen(self.groups, positions),
            larger=None if self.larger is None else self.larger.choose(positions),
        )

    def traits(self) -> Traits:
        """Return the traits of the images, computed if necessary."""
        if self.known is not None:
            return self.known
        if isinstance(self.store, torch.Tensor) and self.rows is None:
            return Traits.of(self.store)
        parts = [Traits.of(self.take(some)) for some in torch.arange(len(self)).split(CHUNK)]
        return Traits(torch.cat([part.digests for part in parts]), torch.cat([part.moments for part in parts]))

    def _check_fits(self) -> None:
        needed = len(self) * math.prod(self.store.shape[1:])
        free = available_memory() if needed > SMALL else None
        if free is not None and needed > USABLE * free:
            raise DataTooLargeError(
                f"{len(self):,} images take {needed / 1e9:.1f} GB of memory at once, and {USABLE * free / 1e9:.1f} GB "
                "may be used; read some of them with `take`"
            )


def _chosen(texts: Sequence[str] | None, positions: torch.Tensor) -> Sequence[str] | None:
    if isinstance(texts, PackedNames):
        return texts.choose(positions)
    return texts and tuple(texts[position] for position in positions.tolist())


@dataclass(frozen=True)
class Parts:
    """Images of a source or a folder, before a validation split is made and statistics are computed."""

    classes: tuple[str, ...]
    train: Split
    val: Split | None
    test: Split | None
    skipped: tuple[str, ...] = ()
    framing: Framing = Framing()
    """How images were resized, with the ranges of their values."""
    unused: tuple[SkippedFiles, ...] = ()
    """Files that are no images to train on, counted by suffix and reason."""

    def splits(self) -> dict[str, Split]:
        """Return the splits that there are, by name."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in every.items() if split is not None}


@dataclass(frozen=True)
class Dataset(Brief):
    """Training, validation and test images. Only evaluation uses `test`."""

    name: str
    """The folder, or the name of the source."""
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None
    mean: tuple[float, ...]
    """Mean of each channel of `train`, on the scale 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel of `train`, on the scale 0 to 1."""
    fingerprint: str
    """Digest of all images, labels, weights and classes."""
    skipped: tuple[str, ...] = ()
    """One line for each file or folder that was left out, and why."""
    unused: tuple[SkippedFiles, ...] = ()
    """Files that are no images to train on, counted by suffix and reason."""
    default_flip: bool = True
    """Whether a mirrored image still shows its class; False for digits."""
    framing: Framing = Framing()
    """How images were resized, with the ranges of their values."""
    held_out: bool = False
    """Whether `val` was held out of the training images, as the data has no validation split of its own."""
    duplicates: int = 0
    """Images with the pixels of another one that were kept on its side when `val` was held out."""

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels."""
        return self.train.multi_label

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.train.channels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self.train.size

    @property
    def resolution(self) -> Resolution:
        """The side of square images, or (height, width)."""
        return resolution_of(*self.size)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Turn uint8 images into floats of mean 0 and standard deviation 1 in each channel."""
        return normalised(images, self.mean, self.std)


def normalised(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Turn uint8 images into floats: each channel minus its mean, divided by its standard deviation.

    Args:
        images: N x C x H x W, uint8.
        mean: Mean of each channel on the scale 0 to 1.
        std: Standard deviation of each channel on the scale 0 to 1.

    Returns:
        A new tensor, N x C x H x W, float32, on the device of the images.
    """
    middle = torch.tensor(mean, device=images.device).view(-1, 1, 1) * 255
    spread = torch.tensor(std, device=images.device).view(-1, 1, 1) * 255
    if images.device.type != "cpu":
        return (images - middle).div_(spread)
    # Most of the time would be spent on new memory: numpy requests huge pages from the system, torch does not. The
    # arithmetic is fastest on a few images at a time, while they are in the processor's cache.
    normal = torch.from_numpy(np.empty(images.shape, np.float32))
    few = max(1, CACHED_VALUES // max(1, images[:1].numel()))
    for part, target in zip(images.split(few), normal.split(few), strict=True):
        target.copy_(part).sub_(middle).div_(spread)
    return normal


def channel_statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and standard deviation on the scale 0 to 1.

    They come from exact sums of integers, so that they depend neither on order nor on rounding.
    """
    if not len(split):  # of data to evaluate, which is normalised as the network requires
        return (0.0,) * split.channels, (1.0,) * split.channels
    means, deviations = [], []
    count = len(split) * math.prod(split.size)
    for total, squares in split.traits().moments.sum(0).T.tolist():
        means.append(total / count / 255)
        variance = (count * squares - total * total) / count**2
        # The deviation of a constant channel counts as 1, to avoid a division by zero.
        deviations.append(math.sqrt(variance) / 255 or 1.0)
    return tuple(means), tuple(deviations)


def fingerprint(classes: tuple[str, ...], *splits: Split | None) -> str:
    """Return a hexadecimal digest of classes, images, labels and weights."""
    whole = hashlib.blake2b(repr(classes).encode("utf-8", "backslashreplace"), digest_size=DIGEST_BYTES)
    for split in splits:
        whole.update(repr(None if split is None else (len(split), *split.store.shape[1:])).encode())
        if split is not None:
            for tensor in (split.traits().digests, split.labels, split.weights):
                if tensor is not None:
                    whole.update(tensor.contiguous().numpy().data)
    return whole.hexdigest()

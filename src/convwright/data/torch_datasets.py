"""Data sets of torch and torchvision: every item read once, in order, into memory."""

from collections.abc import Iterator, Mapping
from statistics import median_low
from typing import Any

import numpy as np
import torch
from PIL import Image

from convwright.data.arrays import ROLES, InMemoryImages, as_pixels, hold, parts_of_arrays
from convwright.data.dataset import Parts
from convwright.data.framing import Framing
from convwright.data.images import fitted, reason
from convwright.data.memory import check_fits
from convwright.data.registry import fault_of
from convwright.errors import ArgumentError, DataError

LARGEST = 224
"""Largest side that images of different sizes are brought to."""
KEYS = (("image", "img", "pixel_values", "picture"), ("label", "labels", "target", "class", "fine_label"))
"""Names of image and label in items that are dictionaries."""
GREY = frozenset({"1", "L", "LA", "I", "I;16", "F"})
"""Modes of Pillow's grey images."""


def hold_datasets(given: Any, classes: Any = None, *, flip: bool = True) -> InMemoryImages:
    """Read data sets with a length and numbered items, each an image with its label.

    Args:
        given: A data set, or data sets by split: `train`, and `val` and `test` if there are any.
        classes: Names of the classes; None: those of the data set, if it has any, else those of the labels.
        flip: Whether a mirrored image still shows its class.

    Raises:
        ArgumentError: It is no such data set, or an item is no image with a label.
        DataError: The images do not fit into memory, or cannot be trained on.
    """
    by_role = dict(given) if isinstance(given, Mapping) else {"train": given}
    if "train" not in by_role or not by_role.keys() <= set(ROLES):
        raise ArgumentError("data", f"must have the splits train, and val and test if wanted, not {', '.join(by_role)}")
    for role, dataset in by_role.items():
        _check(dataset, role if isinstance(given, Mapping) else "data")
    names = classes if classes is not None else _classes_of(by_role["train"])
    reading = _Reading(by_role)
    parts = _parts(reading, names)
    if fault := fault_of(parts):
        raise DataError(f"the given data set cannot be trained on: {fault}")
    if reading.size is None:
        return hold(parts, flip)

    def read_at(size: tuple[int, int], framing: Framing) -> Parts:
        if (size, framing) == (reading.size, Framing()):
            return parts
        return _parts(_Reading(by_role, reading.channels, size, framing), names)

    return hold(parts, flip, read_at)


def _parts(reading: "_Reading", names: Any) -> Parts:
    images, labels = reading.everything()
    return parts_of_arrays([images.get(role) for role in ROLES], [labels.get(role) for role in ROLES], names)


def _check(dataset: Any, name: str) -> None:
    if isinstance(dataset, str | bytes) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ArgumentError(
            "data",
            f"{name} must be a folder, a name, or a data set with a length and numbered items, not "
            f"{type(dataset).__name__}",
        )
    if not len(dataset):
        raise ArgumentError("data", f"{name} has no items")


def _classes_of(dataset: Any) -> list[str] | None:
    """Return the names of the classes that a data set has, also one that is a part of another."""
    while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    found = getattr(dataset, "classes", None)
    usable = isinstance(found, list | tuple) and len(found) > 1 and all(isinstance(each, str) for each in found)
    return list(found) if found is not None and usable else None


class _Restart(Exception):  # noqa: N818 - no error
    """An image is of another size or colour than those before."""


class _Reading:
    """Images of several data sets, which get one size and one number of channels.

    Args:
        by_role: The data sets by split.
        channels: Least number of channels.
        size: Height and width that Pillow's images are brought to; None: they are of one size, or are brought to the
            median of their short sides.
        framing: How they are resized.
    """

    def __init__(
        self,
        by_role: dict[str, Any],
        channels: int = 1,
        size: tuple[int, int] | None = None,
        framing: Framing = Framing(),
    ) -> None:
        self.by_role, self.channels, self.size, self.framing = by_role, channels, size, framing

    def everything(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return images and labels by role."""
        while True:
            images, labels = {}, {}
            try:
                for role, dataset in self.by_role.items():
                    images[role], labels[role] = self._of(role, dataset)
            except _Restart:
                continue
            return images, labels

    def _of(self, role: str, dataset: Any) -> tuple[torch.Tensor, Any]:
        pixels: torch.Tensor | None = None
        labels = []
        for position, image, label in _items(role, dataset):
            one = self._pixels(role, position, image)
            if pixels is None:
                check_fits(len(dataset), one.shape[0], (one.shape[1], one.shape[2]))
                pixels = torch.empty(len(dataset), *one.shape, dtype=torch.uint8)
            if pixels.shape[1:] != one.shape:
                if isinstance(image, Image.Image):
                    self._restart()
                shapes = " and ".join(" x ".join(map(str, shape)) for shape in (pixels.shape[1:], one.shape))
                raise ArgumentError("data", f"{role}[{position}]: images of {shapes}; resize them to one size")
            pixels[position] = one
            labels.append(_plain_label(role, position, label))
        assert pixels is not None
        return pixels, _as_labels(role, labels)

    def _pixels(self, role: str, position: int, image: Any) -> torch.Tensor:
        if isinstance(image, Image.Image):
            if self.channels == 1 and image.mode not in GREY:
                self.channels = 3
                raise _Restart
            height, width = self.size or (image.height, image.width)
            try:
                return torch.from_numpy(
                    np.ascontiguousarray(fitted(image, (height, width), self.channels, self.framing))
                )
            except Exception as error:  # Pillow raises nearly anything on damaged files
                raise DataError(f"{role}[{position}] cannot be read: {reason(error)}") from None
        try:
            return as_pixels(_batched(image), "data")[0]
        except ArgumentError as error:
            advice = "; leave out `Normalize`" if "between 0 and 1" in error.reason else ""
            raise ArgumentError("data", f"{role}[{position}]: {error.reason}{advice}") from None

    def _restart(self) -> None:
        """Read all images again, of which the sizes differ, at the median of their short sides."""
        side = min(median_low(self._short_sides()), LARGEST)
        self.size = side, side
        raise _Restart

    def _short_sides(self) -> Iterator[int]:
        for _, image, _ in _items("train", self.by_role["train"]):
            yield min(image.size if isinstance(image, Image.Image) else np.shape(image)[-2:])


def _batched(image: Any) -> Any:
    if isinstance(image, torch.Tensor):
        return image[None]
    array = np.asarray(image)
    return array[None] if array.dtype != object else image


def _items(role: str, dataset: Any) -> Iterator[tuple[int, Any, Any]]:
    """Yield position, image and label of each item."""
    for position in range(len(dataset)):
        try:
            item = dataset[position]
        except Exception as error:  # of another package's code
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(f"{role}[{position}] cannot be read: {why:.200}") from error
        if isinstance(item, Mapping):
            found = [next((item[key] for key in keys if key in item), None) for keys in KEYS]
        else:
            found = list(item[:2]) if isinstance(item, tuple | list) and len(item) >= 2 else []
        if len(found) < 2 or any(each is None for each in found):
            raise ArgumentError("data", f"{role}[{position}] must be an image and its label, not {type(item).__name__}")
        yield position, found[0], found[1]


def _plain_label(role: str, position: int, label: Any) -> Any:
    """Return a label as a number, a name, a list of names, or a row of 0 and 1."""
    if isinstance(label, torch.Tensor | np.ndarray | np.generic):
        label = np.asarray(label)
        if label.ndim == 1 and np.isin(label, (0, 1)).all():
            return label.astype(bool)
        label = label.item() if label.ndim == 0 else label.tolist()
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int | str) or (isinstance(label, list | tuple) and all(isinstance(x, str) for x in label)):
        return label
    raise ArgumentError("data", f"{role}[{position}]: {label!r:.40} is no label: give a number, a name, or names")


def _as_labels(role: str, labels: list[Any]) -> Any:
    kinds = {type(each) for each in labels}
    if kinds == {np.ndarray}:
        if len({len(each) for each in labels}) > 1:
            raise ArgumentError(
                "data", f"{role}: labels have different lengths; there must be one value for each class"
            )
        return np.stack(labels)
    if kinds <= {int, bool}:
        return np.array(labels, np.int64)
    if kinds == {str} or kinds <= {list, tuple}:
        return labels
    raise ArgumentError(
        "data", f"{role}: labels must be of one kind, not {', '.join(sorted(k.__name__ for k in kinds))}"
    )

"""Images that are given in Python as arrays with labels, checked, and found again by a digest while they are in use."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch

from convwright.data.dataset import CHUNK, Parts, Split, fingerprint
from convwright.data.framing import Framing
from convwright.errors import ArgumentError

PREFIX = "arrays:"
"""First characters of the specification of data that exists in memory only."""
DEEPEST = 65535
"""Largest value of images of 16 bits."""
ROLES = ("train", "val", "test")

ReadAt = Callable[[tuple[int, int], Framing], Parts]
"""Function of height, width and framing that returns images."""


@dataclass(frozen=True, eq=False)
class InMemoryImages:
    """Images in memory, found by `spec` in this process as long as there is a reference to this object."""

    parts: Parts
    spec: str
    """`arrays:` and a digest of images, labels and classes."""
    flip: bool = True
    """Whether a mirrored image still shows its class."""
    read_at: ReadAt | None = None
    """Reads the images again at a height and width; None: they are all of one size."""


_IN_MEMORY: WeakValueDictionary[str, InMemoryImages] = WeakValueDictionary()


def find_in_memory(spec: str) -> InMemoryImages | None:
    """Return the images in memory with this specification; None if nothing refers to them any more."""
    return _IN_MEMORY.get(spec)


def missing_images_message(spec: str) -> str:
    """Return the error message for a specification whose images are no longer in memory."""
    return (
        f"the images {spec} were given in Python, and neither the run nor this process has them; open them again and "
        "pass them as data: `cw.open_data(images=..., labels=...)`"
    )


def hold(parts: Parts, flip: bool = True, read_at: ReadAt | None = None) -> InMemoryImages:
    """Register images in memory under their digest.

    Args:
        parts: The images, checked.
        flip: Whether a mirrored image still shows its class.
        read_at: Reads the images again at a height and width; None: they are all of one size.
    """
    spec = PREFIX + fingerprint(parts.classes, parts.train, parts.val, parts.test)[:16]
    known = _IN_MEMORY.get(spec)
    if known is None or known.flip != flip or (read_at is not None and known.read_at is None):
        known = _IN_MEMORY[spec] = InMemoryImages(parts, spec, flip, read_at)
    return known


def parts_of_arrays(
    images: Sequence[Any | None], labels: Sequence[Any | None], classes: Iterable[str] | None = None
) -> Parts:
    """Return images and labels after checking them.

    Args:
        images: Arrays or tensors of the training, validation and test images, of which only the first is required:
            N x H x W, N x H x W x C or N x C x H x W; uint8, or floats from 0 to 1.
        labels: Their labels: class numbers or names, N; or for multi-label data, a boolean array
            N x classes or a list of lists of names.
        classes: Names of the classes; None: those of the labels, sorted.

    Raises:
        ArgumentError: A value is not as it must be; the message names the argument.
    """
    pixels: dict[str, torch.Tensor] = {}
    values: dict[str, Any] = {}
    for role, some, their_labels in zip(ROLES, images, labels, strict=True):
        names = _argument("images", role), _argument("labels", role)
        if (some is None) != (their_labels is None) or (role == "train" and some is None):
            given, missing = names if their_labels is None else names[::-1]
            raise ArgumentError(missing, "missing" if some is their_labels else f"missing; {given} are given")
        if some is None:
            continue
        pixels[role] = as_pixels(some, names[0])
        values[role] = _as_labels(their_labels, names[1])
        if len(pixels[role]) != len(values[role]):
            raise ArgumentError(
                names[1], f"{len(values[role]):,} labels for {len(pixels[role]):,} images; there must be one for each"
            )
        if pixels[role].shape[1:] != pixels["train"].shape[1:]:
            one, other = (" x ".join(map(str, pixels[part].shape[1:])) for part in (role, "train"))
            raise ArgumentError(names[0], f"{one} (channels x height x width), and the training images are {other}")
    known = _class_names(classes, values)
    splits = {role: Split(pixels[role], _as_numbers(values[role], known, _argument("labels", role))) for role in pixels}
    return Parts(known.names, splits["train"], splits.get("val"), splits.get("test"))


def as_pixels(images: Any, name: str) -> torch.Tensor:
    """Return images as uint8, N x C x H x W.

    Args:
        images: An array, a tensor, or a sequence of them with one shape.
        name: Name of the argument.

    Raises:
        ArgumentError: Type, range or shape is not as it must be.
    """
    array = _as_array(images, name)
    channels_at = _channel_axis(array.shape, name)
    if not len(array):
        raise ArgumentError(name, "there are no images")
    if array.dtype == np.uint8:
        pixels = array
    elif array.dtype == np.bool_:
        pixels = array.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        pixels = _from_floats(array, name)
    else:
        most = np.iinfo(array.dtype).max if np.issubdtype(array.dtype, np.integer) else None
        how = f"divide it by its largest possible value, such as {most}" if most == DEEPEST else "convert it first"
        raise ArgumentError(name, f"must be uint8, or floats from 0 to 1, not {array.dtype}; {how}")
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    if channels_at is None:
        return tensor[:, None]
    return tensor if channels_at == 1 else tensor.permute(0, 3, 1, 2).contiguous()


def _argument(kind: str, role: str) -> str:
    return kind if role == "train" else f"{role}_{kind}"


def _as_array(images: Any, name: str) -> np.ndarray:
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        converted: np.ndarray = (images.float() if images.dtype == torch.bfloat16 else images).numpy()
        return converted
    try:
        array = np.asarray(images)
    except (ValueError, TypeError):
        array = np.asarray(None)
    if array.dtype == object:
        raise ArgumentError(name, "must be one array, or images of one size; images of many sizes belong in a folder")
    return array


def _channel_axis(shape: tuple[int, ...], name: str) -> int | None:
    """Return the axis of the channels of an array of images; None if it has none."""
    sizes = " x ".join(map(str, shape))
    if len(shape) == 3:
        axis = None
    elif len(shape) == 4:
        found = [place for place in (1, 3) if shape[place] in (1, 3)]
        if len(found) == 2:
            raise ArgumentError(
                name,
                f"{sizes} may be N x channels x height x width or N x height x width x channels; use larger images",
            )
        if not found:
            raise ArgumentError(name, f"must have 1 or 3 channels, in the second or the last place, not {sizes}")
        axis = found[0]
    else:
        raise ArgumentError(name, f"must be N x H x W, N x H x W x C or N x C x H x W, not {sizes or 'a single value'}")
    if 0 in shape[1:]:
        raise ArgumentError(name, f"{sizes}: the images have no pixels")
    return axis


def _from_floats(array: np.ndarray, name: str) -> np.ndarray:
    pixels = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), CHUNK):
        some = array[start : start + CHUNK]
        low, high = float(some.min()), float(some.max())
        if not (low >= 0 and high <= 1):  # also for NaN
            raise ArgumentError(name, f"floats must lie between 0 and 1, and there are values from {low:g} to {high:g}")
        np.rint(some.astype(np.float64) * 255, out=pixels[start : start + CHUNK], casting="unsafe")
    return pixels


def _as_labels(labels: Any, name: str) -> Any:
    """Return labels as int64 or text N, bool N x classes, or a list of lists."""
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, Sequence) and labels and all(isinstance(each, list | tuple | set) for each in labels):
        if not all(isinstance(label, str) for each in labels for label in each):
            raise ArgumentError(name, "lists of labels must hold the names of classes")
        return [list(each) for each in labels]
    array = np.asarray(labels)
    if array.ndim == 2 and array.dtype == np.bool_:
        return array
    if array.ndim != 1 or not (array.dtype.kind in "iuU" or all(isinstance(each, str) for each in array.tolist())):
        raise ArgumentError(
            name,
            "must be whole numbers or names, one for each image; or for multi-label data, a boolean array "
            f"N x classes, not {array.dtype} of shape {array.shape}",
        )
    return array.astype(np.int64) if array.dtype.kind in "iu" else array.astype(str)


@dataclass(frozen=True)
class _Classes:
    """The classes, and the place of each value that a label may have."""

    names: tuple[str, ...]
    places: dict[Any, int]


def _class_names(classes: Iterable[str] | None, values: dict[str, Any]) -> _Classes:
    given = None if classes is None else tuple(map(str, classes))
    if given is not None and (len(given) < 2 or len(set(given)) < len(given) or "" in given):
        raise ArgumentError("classes", "must be two different names or more")
    train = values["train"]
    if isinstance(train, np.ndarray) and train.ndim == 2:
        names = given or tuple(map(str, range(train.shape[1])))
        return _Classes(names, {})
    if isinstance(train, list) or train.dtype.kind == "U":
        found = {label for each in values.values() for label in (_flat(each) if isinstance(each, list) else each)}
        names = given or tuple(sorted(map(str, found)))
        return _Classes(names, {name: place for place, name in enumerate(names)})
    if given is not None:
        return _Classes(given, dict(enumerate(range(len(given)))))
    numbers = sorted(set(train.tolist()))
    return _Classes(tuple(map(str, numbers)), {number: place for place, number in enumerate(numbers)})


def _flat(lists: Iterable[Iterable[str]]) -> list[str]:
    return [label for each in lists for label in each]


def _as_numbers(values: Any, known: _Classes, name: str) -> torch.Tensor:
    """Return labels as a `Split` has them."""
    count = len(known.names)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        if values.shape[1] != count:
            raise ArgumentError(name, f"{values.shape[1]} columns for {count} classes; there must be one for each")
        return torch.from_numpy(values.copy())
    rows = values if isinstance(values, list) else [[each] for each in values.tolist()]
    unknown = sorted({str(label) for row in rows for label in row if label not in known.places})
    if unknown:
        kind = "0 to " + str(count - 1) if known.places.keys() == set(range(count)) else ", ".join(known.names[:5])
        raise ArgumentError(name, f"{', '.join(unknown[:3])} is none of the {count} classes ({kind})")
    if isinstance(values, list):
        several = torch.zeros(len(rows), count, dtype=torch.bool)
        for row, names in enumerate(rows):
            several[row, [known.places[label] for label in names]] = True
        return several
    return torch.tensor([known.places[row[0]] for row in rows], dtype=torch.int64)

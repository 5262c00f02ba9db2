"""Lists of images of a named source, such as `fashion-mnist:train/17` with a corrected label."""

from dataclasses import replace
from typing import Any

import torch

from convwright.data.dataset import Parts, Split
from convwright.data.lists import Entry, ImageList, source_images
from convwright.data.registry import fault_of
from convwright.errors import DataError
from convwright.printable import printable


def parts_of_list(images: ImageList, source: Parts, *, training: bool = True) -> Parts:
    """Return the images of a source that a list names, with the list's labels, splits, weights and groups.

    The classes are those of the source, where the list has no others.

    Args:
        images: The list.
        source: The images of the source.
        training: Whether the images are to train on, so that there must be a split `train`.

    Raises:
        DataError: An entry is no image of the source, or there are no training images.
    """
    found, known = images.classes, set(source.classes)
    classes = tuple(name for name in source.classes if name in set(found)) if known.issuperset(found) else tuple(found)
    places = source_images(images)
    splits: dict[str, Split] = {}
    for role in ("train", "val", "test"):
        numbers = [number for number, entry in enumerate(images.entries) if entry.role == role]
        if numbers:
            entries = [images.entries[number] for number in numbers]
            pixels = _chosen(images, entries, [places[number] for number in numbers], source)
            splits[role] = _labelled(pixels, entries, images, classes)
    if "train" not in splits:
        if training:
            raise DataError(f"{printable(images.path)} has no images of the split train")
        splits["train"] = next(iter(splits.values())).choose(torch.empty(0, dtype=torch.int64))
    parts = replace(source, classes=classes, train=splits["train"], val=splits.get("val"), test=splits.get("test"))
    if training and (fault := fault_of(parts)):
        raise DataError(f"{printable(images.path)} cannot be trained on: {fault}")
    return parts


def _chosen(images: ImageList, entries: list[Entry], places: list[Any], source: Parts) -> Split:
    """Return images of a source, in order."""
    have = source.splits()
    for entry, place in zip(entries, places, strict=True):
        if place.role not in have or place.position >= len(have[place.role]):
            raise DataError(
                f"{printable(images.path)}: line {entry.line}: {images.source} has no image {place.role}/"
                f"{place.position}; its {place.role} images are {len(have.get(place.role, ())):,}, counted from 0"
            )
    roles = list(dict.fromkeys(place.role for place in places))
    if len(roles) == 1:
        return have[roles[0]].choose(torch.tensor([place.position for place in places], dtype=torch.int64))
    pixels = torch.empty(len(places), *have[roles[0]].store.shape[1:], dtype=torch.uint8)
    for role in roles:
        rows = [row for row, place in enumerate(places) if place.role == role]
        pixels[rows] = have[role].take(torch.tensor([places[row].position for row in rows], dtype=torch.int64))
    return Split(pixels, torch.zeros(len(places), dtype=torch.int64))


def _labelled(pixels: Split, entries: list[Entry], images: ImageList, classes: tuple[str, ...]) -> Split:
    numbers = {name: number for number, name in enumerate(classes)}
    if images.multi_label:
        labels = torch.zeros(len(entries), len(classes), dtype=torch.bool)
        for row, entry in enumerate(entries):
            labels[row, [numbers[label] for label in entry.labels]] = True
    else:
        labels = torch.tensor([numbers[entry.labels[0]] for entry in entries], dtype=torch.int64)
    return replace(
        pixels,
        labels=labels,
        names=tuple(printable(entry.path) for entry in entries),
        weights=torch.tensor([entry.weight for entry in entries]) if images.weighted else None,
        groups=tuple(entry.group for entry in entries) if images.grouped else None,
    )

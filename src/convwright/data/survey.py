"""A data set looked over before training: each file opened once, counted, measured and compared."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from convwright.data.dataset import Parts, Split
from convwright.data.images import Facts, decode, printable, quiet, read_facts, reason_of
from convwright.data.layout import Found, find
from convwright.data.sources import SOURCES, existing_folder
from convwright.data.threads import Progress, in_threads

THUMBNAIL = 96
"""Side of the contact sheet's images, or less where the images are smaller."""
SHOWN_IN_ALL, SHOWN_OF_A_CLASS = 400, 12
"""Most images on the contact sheet."""


@dataclass(frozen=True)
class Seen:
    """One readable image."""

    name: str
    split: str
    label: int
    facts: Facts
    digest: bytes
    """Of the file, or of the pixels where there is none."""
    thumbnail: np.ndarray | None = None
    """Height x width x 3, of those that are shown."""


@dataclass(frozen=True)
class Survey:
    """What there is to know of a data set."""

    name: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    images: tuple[Seen, ...]
    unreadable: tuple[str, ...]
    """One line for each file or folder, with the reason."""
    counts: dict[str, list[int]] = field(init=False)
    """Readable images by split and class."""

    def __post_init__(self) -> None:
        counts = {split: [0] * len(self.classes) for split in self.splits}
        for image in self.images:
            counts[image.split][image.label] += 1
        object.__setattr__(self, "counts", counts)

    def of(self, split: str) -> list[Seen]:
        """Return the images of a split."""
        return [image for image in self.images if image.split == split]


def survey(spec: str, progress: Progress | None = None) -> Survey:
    """Look over a folder, or a source by its name. DataError if there is no data."""
    if spec in SOURCES:
        return _survey_source(spec, SOURCES[spec].read(False))
    with existing_folder(spec) as root, quiet():
        return _survey_folder(spec, root, progress)


def _survey_folder(spec: str, root: Path, progress: Progress | None) -> Survey:
    skipped: list[str] = []
    splits, classes = find(root, skipped)
    work = [
        (found.role, label, path, path in shown)
        for found in splits.values()
        for shown in [_shown(found, len(classes))]
        for path, label in zip(found.paths, found.labels, strict=True)
    ]

    def look(item: tuple[str, int, Path, bool]) -> Seen | str:
        split, label, path, shown = item
        name = printable(path.relative_to(root))
        try:
            facts = read_facts(path)
            side = min(THUMBNAIL, facts.width, facts.height)
            pixels = decode(path, side, 3).transpose(1, 2, 0)  # of every file: damage shows in the pixels only
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").digest()
        except Exception as error:  # Pillow raises nearly anything on damaged files
            return f"{name}: {reason_of(path, error)}"
        return Seen(name, split, label, facts, digest, pixels if shown else None)

    results = list(in_threads(look, work, progress, "looking at images"))
    images = tuple(result for result in results if isinstance(result, Seen))
    skipped += [result for result in results if isinstance(result, str)]
    return Survey(spec, tuple(map(printable, classes)), tuple(splits), images, tuple(skipped))


def _shown(found: Found, classes: int) -> set[Path]:
    """Choose the images for the contact sheet: of the training split, spread evenly over each class."""
    if found.role != "train":
        return set()
    by_class: dict[int, list[Path]] = {}
    for path, label in zip(found.paths, found.labels, strict=True):
        by_class.setdefault(label, []).append(path)
    return {paths[i] for paths in by_class.values() for i in _spread(len(paths), classes)}


def _spread(count: int, classes: int) -> Sequence[int]:
    shown = min(count, SHOWN_OF_A_CLASS, max(1, SHOWN_IN_ALL // classes))
    return [i * count // shown for i in range(shown)]


def _survey_source(name: str, data: Parts) -> Survey:
    splits = {"train": data.train, "val": data.val, "test": data.test}
    present = {role: split for role, split in splits.items() if split is not None}
    images = tuple(image for role, split in present.items() for image in _seen(role, split, len(data.classes)))
    return Survey(name, data.classes, tuple(present), images, data.skipped)


def _seen(role: str, split: Split, classes: int) -> Iterator[Seen]:
    facts = Facts(split.resolution, split.resolution, "L" if split.channels == 1 else "RGB", "", 1)
    labels = split.labels.tolist()
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(label, []).append(position)
    shown = {rows[i] for rows in positions.values() for i in _spread(len(rows), classes)} if role == "train" else set()
    for position, (label, digest) in enumerate(zip(labels, split.traits().digests.numpy(), strict=True)):
        pixels = split.store[position].expand(3, -1, -1).permute(1, 2, 0).numpy() if position in shown else None
        yield Seen(f"{role}/{position}", role, label, facts, digest.tobytes(), pixels)

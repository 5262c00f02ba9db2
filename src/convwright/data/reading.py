"""Labelled images on their way to a data set: headers read, what cannot be read left out, the others decoded."""

import re
from statistics import median_low

import numpy as np
import torch

from convwright.arch.resolution import Resolution, sides
from convwright.data.cache import Cache
from convwright.data.dataset import Parts, Split, Traits
from convwright.data.decoding import Pixels, Reader
from convwright.data.framing import Framing
from convwright.data.images import framing_for, printable
from convwright.data.items import ItemSplit, LabelledItems
from convwright.data.packed_names import PackedNames
from convwright.data.threads import Progress
from convwright.display.wording import counted
from convwright.errors import ArgumentError, DataError

_PLAIN = re.compile(rb"[ -~]*")
"""Names that are printed as they are."""


class UnreadableFilesError(ArgumentError, DataError):
    """Data has more unreadable images than the argument `max_bad` allows."""


def read_items(
    data: LabelledItems,
    resolution: Resolution | None,
    largest: int,
    framing: Framing = Framing(),
    *,
    cache: Cache | None = None,
    max_bad: float = 1.0,
    training: bool = True,
    progress: Progress | None = None,
) -> Parts:
    """Return images, decoded or from the cache, or decoded when they are used where they are too many.

    They have one channel if all are grey, else three.

    Args:
        data: The images, with labels.
        resolution: Side of the images, or (height, width); None: the median of their short sides.
        largest: Largest resolution where it is that median.
        framing: How images are resized.
        cache: Where decoded images are kept.
        max_bad: Largest share of the images that may be unreadable.
        training: Whether the images are to train on; to evaluate, any number of images of any class will do, and
            values of images with more than 8 bits per channel mean what the framing says.
        progress: Called with the number of images done, their total and a description.

    Raises:
        UnreadableFilesError: More images are unreadable.
        DataError: A class or a split has too few images.
    """
    reader = Reader(data.items, cache, progress)
    good = _Good(data, max_bad, training=training)
    headers = reader.headers()
    splits = good.without(headers.reasons)
    known = np.zeros(len(data.items.names), bool)
    for split in [splits["train"]] if training else splits.values():
        known[split.numbers] = True
    if resolution is None:
        resolution = min(int(median_low(headers.short_sides[known].tolist())), largest)
    if training:
        framing = framing_for((header for number, header in headers.deep.items() if known[number]), framing)
    channels = 1 if headers.grey[good.mask].all() else 3
    del headers  # of a million images
    pixels = reader.pixels((channels, *sides(resolution)), framing, good.mask)
    splits = good.without(pixels.reasons)  # again, as some images turn out damaged only when decoded
    names = _printable(data.items.names)
    decoded = {role: _split(split, pixels, names) for role, split in splits.items()}
    if "train" not in decoded:  # to evaluate
        decoded["train"] = next(iter(decoded.values())).choose(torch.empty(0, dtype=torch.int64))
    return Parts(
        tuple(map(printable, data.classes)),
        decoded["train"],
        decoded.get("val"),
        decoded.get("test"),
        (*data.skipped, *good.lines),
        framing,
        data.files.counts(),
    )


class _Good:
    """Which images of a collection can be read."""

    def __init__(self, data: LabelledItems, max_bad: float, *, training: bool) -> None:
        self.data, self.max_bad, self.training = data, max_bad, training
        self.mask = np.ones(len(data.items.names), bool)
        self.lines: list[str] = []

    def without(self, reasons: dict[int, str]) -> dict[str, ItemSplit]:
        """Return the splits without images that cannot be read, after checking that enough images are left.

        Args:
            reasons: Why images cannot be read, by number.
        """
        names = self.data.items.names
        for number, why in sorted(reasons.items()):
            if self.mask[number]:
                self.mask[number] = False
                line = "" if self.data.lines is None else f"line {self.data.lines[number]}: "
                self.lines.append(f"{line}{printable(names[number])}: {why}")
        splits = {role: split.kept(self.mask) for role, split in self.data.splits.items()}
        if self.training:
            self._check_classes(splits)
        else:
            splits = {role: split for role, split in splits.items() if len(split.numbers)}
            if not splits:
                raise DataError(f"{printable(self.data.name)} has no readable images{self._example()}")
        self._check_share()
        return splits

    def _check_share(self) -> None:
        bad, total = self.lines, len(self.mask)
        if len(bad) > self.max_bad * total:
            raise UnreadableFilesError(
                "max_bad",
                f"{len(bad)} of the {total} image files in {printable(self.data.name)} cannot be read "
                f"({100 * len(bad) / total:.1f} %; `max_bad` allows {100 * self.max_bad:.4g} %): {'; '.join(bad[:3])}"
                f"{' ...' if len(bad) > 3 else ''}",
            )

    def _check_classes(self, splits: dict[str, ItemSplit]) -> None:
        """Refuse data in which a class has too few images to train on and, to make a split, to validate on."""
        name = printable(self.data.name)
        for role, split in splits.items():
            if not len(split.numbers):
                raise DataError(f"{name} has no readable {role} images{self._example()}")
        labels = splits["train"].labels
        classes = self.data.classes
        counts = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(classes))
        least = 1 if "val" in splits else 2
        for count, label in zip(counts.tolist(), classes, strict=True):
            if count < least:
                raise DataError(
                    f"class {printable(label)} in {name} has {counted(count, 'readable training image')} and needs at "
                    f"least {least}" + (", one of them to validate on" if least == 2 else "")
                )

    def _example(self) -> str:
        skipped = [*self.data.skipped, *self.lines]
        hint = f": {self.data.hint}" if self.data.hint else ""
        return f" (the first of {len(skipped)} skipped: {skipped[0]})" if skipped else hint


def _split(split: ItemSplit, pixels: Pixels, names: PackedNames) -> Split:
    numbers = torch.from_numpy(split.numbers)
    rows = torch.from_numpy(pixels.rows)[numbers]
    traits = Traits(pixels.traits.digests[numbers], pixels.traits.moments[numbers])
    labels = torch.from_numpy(split.labels)
    weights = None if split.weights is None else torch.from_numpy(split.weights)
    return Split(pixels.store, labels, rows, traits, names.choose(split.numbers), weights, split.groups)


def _printable(names: PackedNames) -> PackedNames:
    whole = names.compact()
    return whole if _PLAIN.fullmatch(whole.text) else PackedNames(map(printable, names))  # type: ignore[call-overload]

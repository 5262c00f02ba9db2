"""Data from a folder: its readable images, decoded once."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch

from convwright.arch.resolution import Resolution, sides
from convwright.data.cache import Cache
from convwright.data.dataset import Parts, Split, Traits
from convwright.data.decoding import Reader, Row
from convwright.data.framing import Framing
from convwright.data.images import Header, framing_for, printable
from convwright.data.layout import LAYOUT, SplitFiles, find
from convwright.data.threads import Progress
from convwright.display.wording import counted
from convwright.errors import ArgumentError, DataError


class UnreadableFilesError(ArgumentError, DataError):
    """A folder has more unreadable files than the argument `max_bad` allows."""


def read_folder(
    root: Path,
    resolution: Resolution | None,
    largest: int,
    framing: Framing = Framing(),
    *,
    cache: Cache | None = None,
    max_bad: float = 1.0,
    progress: Progress | None = None,
) -> Parts:
    """Return the images below a folder, decoded or from the cache.

    They have one channel if all are grey, else three.

    Args:
        root: The folder.
        resolution: Side of the images, or (height, width); None: the median of their short sides.
        largest: Largest resolution where it is that median.
        framing: How images are resized.
        cache: Where decoded images are kept.
        max_bad: Largest share of the files that may be unreadable.
        progress: Called with the number of images done, their total and a description.

    Raises:
        UnreadableFilesError: More files are unreadable.
        DataError: A class or a split has too few images.
    """
    skipped: list[str] = []
    splits, classes = find(root, skipped)
    before = len(skipped)
    total = sum(len(found.paths) for found in splits.values())

    def drop_failed(results: Mapping[Path, Any]) -> None:
        for found in splits.values():
            skipped.extend(_drop_failed(found, results))
        _check_classes(splits, classes, root, skipped)
        _check_share(root, skipped[before:], total, max_bad)

    reader = Reader(root, cache, progress)
    headers = reader.headers(_paths(splits))
    drop_failed(headers)
    training: list[Header] = [headers[path] for path in splits["train"].paths]  # type: ignore[misc]
    resolution = resolution or min(median_low([header.short_side for header in training]), largest)
    framing = framing_for(training, framing)
    channels = 1 if all(headers[path].grey for path in _paths(splits)) else 3  # type: ignore[union-attr]
    store, rows = reader.pixels(_paths(splits), (channels, *sides(resolution)), framing)
    drop_failed(rows)  # again, as some images turn out damaged only when decoded
    decoded = {role: _split(found, store, rows, root) for role, found in splits.items()}
    return Parts(
        tuple(map(printable, classes)),
        decoded["train"],
        decoded.get("val"),
        decoded.get("test"),
        tuple(skipped),
        framing,
    )


def _paths(splits: dict[str, SplitFiles]) -> list[Path]:
    return [path for found in splits.values() for path in found.paths]


def _split(found: SplitFiles, store: torch.Tensor, results: Mapping[Path, Row | str], root: Path) -> Split:
    rows = [row for path in found.paths if isinstance(row := results[path], Row)]
    digests = np.frombuffer(bytearray.fromhex("".join(row.digest for row in rows)), dtype=np.uint8)
    return Split(
        store,
        torch.tensor(found.labels, dtype=torch.int64),
        torch.tensor([row.row for row in rows], dtype=torch.int64),
        Traits(torch.from_numpy(digests).view(len(rows), -1), torch.tensor([row.moments for row in rows])),
        tuple(printable(path.relative_to(root)) for path in found.paths),
    )


def _drop_failed(found: SplitFiles, results: Mapping[Path, Any]) -> list[str]:
    """Remove the files whose result is a reason (text) from ``found``; return the reasons."""
    outcomes = [results[path] for path in found.paths]
    kept = [position for position, outcome in enumerate(outcomes) if not isinstance(outcome, str)]
    if len(kept) < len(outcomes):
        found.keep(kept)
    return [outcome for outcome in outcomes if isinstance(outcome, str)]


def _check_share(root: Path, bad: list[str], total: int, max_bad: float) -> None:
    if len(bad) > max_bad * total:
        raise UnreadableFilesError(
            "max_bad",
            f"{len(bad)} of the {total} image files in {printable(root)} cannot be read ({len(bad) / total:.1%}, and "
            f"{max_bad:.4g} of them may be unreadable): {'; '.join(bad[:3])}{' ...' if len(bad) > 3 else ''}",
        )


def _check_classes(splits: dict[str, SplitFiles], classes: list[str], root: Path, skipped: list[str]) -> None:
    """Refuse data in which a class has too few images to train on and, where a split must be made, to validate on."""
    for found in splits.values():
        if not found.paths:
            example = f" (the first of {len(skipped)} skipped: {skipped[0]})" if skipped else f": {LAYOUT}"
            raise DataError(f"{printable(root)} has no readable {found.role} images{example}")
    counts = Counter(splits["train"].labels)
    least = 1 if "val" in splits else 2
    for label, name in enumerate(classes):
        if counts[label] < least:
            raise DataError(
                f"class {printable(name)} in {printable(root)} has "
                f"{counted(counts[label], 'readable training image')} and needs at least {least}"
                + (", one of them to validate on" if least == 2 else "")
            )

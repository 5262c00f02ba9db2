"""Files to what is wanted of them, headers and pixels: each worked out once, in parallel, and kept for later runs."""

import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import PIL
import torch
from PIL import Image

from convwright.data.cache import Cache, CacheFullError
from convwright.data.dataset import digest, moments_of
from convwright.data.image_store import FileImageStore, ImageStore, ImageStoreError, MemoryImageStore, Shape
from convwright.data.images import Header, decode, printable, quiet, read_header, reason, reason_of
from convwright.data.journal import Journal, Stamp, stamp_of
from convwright.data.memory import check_fits
from convwright.data.threads import Progress, in_threads
from convwright.errors import ConvwrightWarning

DECODER = 1
"""To be raised when decoding changes, so that no cache hands out the pixels of another version."""
SECONDS_BETWEEN_SAVES = 5.0
JOURNAL_BYTES = 512
"""More than a file's line in a journal takes."""
MOST_ROWS = 2
"""A cache with more rows than this for each file, of files that changed or went, is made anew."""

Result = TypeVar("Result")


class Row(NamedTuple):
    """Where an image was put, and its traits."""

    row: int
    digest: str
    moments: list[list[int]]


class Outcome(NamedTuple):
    """What came of a file."""

    path: Path
    value: Any
    """Or the reason, as text, why there is none."""
    lasting: bool
    """Would another try end in the same? Not so where permission or memory was lacking."""


class Reader:
    """Reads the files of one folder. What the cache takes is kept; when it fails, reading goes on without it."""

    def __init__(self, root: Path, cache: Cache | None, progress: Progress | None = None) -> None:
        self.root, self.cache, self.progress = root, cache, progress
        identity = repr((os.path.realpath(root), DECODER, PIL.__version__, Image.MAX_IMAGE_PIXELS))
        self._name = blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self._stamps: dict[Path, Stamp | None] = {}

    def headers(self, paths: Sequence[Path]) -> dict[Path, Header | str]:
        """Return each file's header, or the reason why it has none."""
        doing = "looking at images"

        def kept(cache: Cache, unit: Path) -> dict[Path, Any]:
            journal = Journal(unit / "journal")
            found = self._recalled(journal, paths)
            if missing := [path for path in paths if path not in found]:
                cache.reserve(unit, JOURNAL_BYTES * len(missing), lambda: None)
                found |= self._noted(journal, self._tried(read_header, missing, doing), journal.save)
            return found

        def unkept() -> dict[Path, Any]:
            return {path: value for path, value, _ in self._tried(read_header, paths, doing)}

        found = self._read("headers", kept, unkept)
        return {path: value if isinstance(value, str) else Header(*value) for path, value in found.items()}

    def pixels(self, paths: Sequence[Path], shape: Shape) -> tuple[torch.Tensor, dict[Path, Row | str]]:
        """Return a store of decoded images, and each file's row in it or the reason why it has none."""
        channels, resolution, _ = shape

        def kept(cache: Cache, unit: Path) -> tuple[torch.Tensor, dict[Path, Any]]:
            with FileImageStore(unit / "pixels", shape) as shelf:
                found = self._kept_rows(cache, unit, shelf, paths)
                return shelf.view(), found

        def unkept() -> tuple[torch.Tensor, dict[Path, Any]]:
            check_fits(len(paths), channels, resolution)
            shelf = MemoryImageStore(len(paths), shape)
            return shelf.view(), {path: value for path, value, _ in self._decoded(paths, shelf, first_row=0)}

        store, found = self._read(f"{resolution}x{channels}", kept, unkept)
        return store, {path: value if isinstance(value, str) else Row(*value) for path, value in found.items()}

    def _read(self, what: str, kept: Callable[[Cache, Path], Result], unkept: Callable[[], Result]) -> Result:
        """Return what ``kept`` makes of a unit of the cache; where that fails, say so and return ``unkept()``."""

        def waiting() -> None:
            if self.progress is not None:
                self.progress(0, 1, "waiting for another run that reads these images")

        if self.cache is not None:
            try:
                with quiet(), self.cache.unit(f"{self._name}-{what}", waiting) as unit:
                    return kept(self.cache, unit)
            except OSError as error:  # of the cache: what is wrong with an image ends up as its reason
                self.cache = None
                why = str(error) if isinstance(error, CacheFullError) else f"cannot be used: {reason(error)}"
                warnings.warn(
                    f"the cache of decoded images {why}; going on without it", ConvwrightWarning, stacklevel=2
                )
        with quiet():
            return unkept()

    def _kept_rows(self, cache: Cache, unit: Path, shelf: FileImageStore, paths: Sequence[Path]) -> dict[Path, Any]:
        """Return the files' rows on the shelf, after decoding what is not there yet."""
        journal = Journal(unit / "journal")
        used, found = _rows_used(journal), self._recalled(journal, paths)
        if not used or used > min(shelf.rows, MOST_ROWS * len(paths)):  # rows are lost, or most are out of date
            journal.clear()
            shelf.renew()
            used, found = 0, {}
        missing = [path for path in paths if path not in found]
        if not missing:
            return found
        rows = used + len(missing)
        extra = max(0, rows - shelf.rows) * shelf.row_bytes + JOURNAL_BYTES * len(missing)

        def save() -> None:
            shelf.sync()  # first, as a line of the journal promises that the pixels are there
            journal.save()

        try:
            cache.reserve(unit, extra, lambda: shelf.reserve(rows))
            return found | self._noted(journal, self._decoded(missing, shelf, used), save)
        finally:
            shelf.trim(_rows_used(journal))

    def _recalled(self, journal: Journal, paths: Sequence[Path]) -> dict[Path, Any]:
        """Return what the journal holds of files that are as they were."""
        found = {}
        for path in paths:
            stamp = self._stamp(path)
            value = None if stamp is None else journal.recall(self._key(path), stamp)
            if value is not None:
                found[path] = value
        return found

    def _noted(self, journal: Journal, outcomes: Iterator[Outcome], save: Callable[[], None]) -> dict[Path, Any]:
        """Return the outcomes' values; note those that last, and save them now and then."""
        found, saved_at = {}, time.monotonic()
        try:
            for path, value, lasting in outcomes:
                found[path] = value
                stamp = self._stamps[path]
                if lasting and stamp is not None:
                    journal.note(self._key(path), stamp, value)
                if time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                    save()
                    saved_at = time.monotonic()
        finally:
            save()
        return found

    def _decoded(self, paths: Sequence[Path], shelf: ImageStore, first_row: int) -> Iterator[Outcome]:
        """Decode files onto a shelf, into the rows from ``first_row`` on."""
        channels, resolution, _ = shelf.shape
        free = itertools.count(first_row)  # a row is taken once there is an image for it, so that none stays empty

        def work(path: Path) -> Row:
            pixels = np.ascontiguousarray(decode(path, resolution, channels))
            row = next(free)
            shelf.put(row, pixels)
            return Row(row, digest(pixels).hex(), moments_of(pixels).tolist())

        return self._tried(work, paths, "decoding images")

    def _tried(self, work: Callable[[Path], Any], paths: Sequence[Path], doing: str) -> Iterator[Outcome]:
        """Do the work on each file, in threads; whatever is wrong with one becomes its value."""

        def attempt(path: Path) -> Outcome:
            before = self._stamp(path)
            try:
                value = work(path)
                if before == _stamp_or_none(path):
                    return Outcome(path, value, lasting=True)
                why, lasting = "it changed while it was read", False
            except ImageStoreError:
                raise
            except Exception as error:  # Pillow raises nearly anything on damaged files
                why = reason_of(path, error)
                lasting = not (isinstance(error, MemoryError) or getattr(error, "errno", None))
            return Outcome(path, f"{printable(path.relative_to(self.root))}: {why}", lasting)

        return in_threads(attempt, paths, self.progress, doing)

    def _stamp(self, path: Path) -> Stamp | None:
        if path not in self._stamps:
            self._stamps[path] = _stamp_or_none(path)
        return self._stamps[path]

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self.root))


def _stamp_or_none(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def _rows_used(journal: Journal) -> int:
    return 1 + max((value[0] for value in journal.values() if not isinstance(value, str)), default=-1)

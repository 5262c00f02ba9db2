"""Headers and pixels of image files: each read once, in parallel, and cached for later runs."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import PIL
import torch
from PIL import Image

from convwright.data.cache import Cache, CacheFullError
from convwright.data.digests import digest, moments_of
from convwright.data.framing import Framing
from convwright.data.image_store import FileImageStore, ImageStore, ImageStoreError, MemoryImageStore, Shape
from convwright.data.images import Header, decode, printable, quiet, read_header, reason, reason_of
from convwright.data.journal import Journal, Stamp, stamp_of
from convwright.data.memory import check_fits
from convwright.data.threads import Progress, in_threads
from convwright.errors import warn

LAYOUT = 2
"""Version of the contents of the cache; a cache of another version is not used."""
SECONDS_BETWEEN_SAVES = 5.0
JOURNAL_BYTES = 512
"""Upper limit of the bytes of a file's line in a journal."""
MOST_ROWS = 2
"""A cache with more rows than this for each file, because files changed or were deleted, is rebuilt."""

Result = TypeVar("Result")


class Row(NamedTuple):
    """Row of an image in its store, and its traits."""

    row: int
    digest: str
    moments: list[list[int]]


class Outcome(NamedTuple):
    """Result of reading a file."""

    path: Path
    value: Any
    """The value, or the reason why there is none, as text."""
    lasting: bool
    """Whether another attempt would have the same result; False where permission or memory was lacking."""


class Reader:
    """Reads the files of one folder through the cache; without it where the cache cannot be used."""

    def __init__(self, root: Path, cache: Cache | None, progress: Progress | None = None) -> None:
        self.root, self.cache, self.progress = root, cache, progress
        identity = repr((os.path.realpath(root), LAYOUT, PIL.__version__, Image.MAX_IMAGE_PIXELS))
        self._name = blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self._stamps: dict[Path, Stamp | None] = {}

    def headers(self, paths: Sequence[Path]) -> dict[Path, Header | str]:
        """Return each file's header, or the reason why it has none."""
        doing = "reading headers"

        def from_cache(cache: Cache, unit: Path) -> dict[Path, Any]:
            journal = Journal(unit / "journal")
            found = self._cached_values(journal, paths)
            if missing := [path for path in paths if path not in found]:
                cache.reserve(unit, JOURNAL_BYTES * len(missing), lambda: None)
                found |= self._stored(journal, self._attempted(read_header, missing, doing), journal.save)
            return found

        def without_cache() -> dict[Path, Any]:
            return {path: value for path, value, _ in self._attempted(read_header, paths, doing)}

        found = self._read("headers", from_cache, without_cache)
        return {path: value if isinstance(value, str) else Header(*value) for path, value in found.items()}

    def pixels(
        self, paths: Sequence[Path], shape: Shape, framing: Framing = Framing()
    ) -> tuple[torch.Tensor, dict[Path, Row | str]]:
        """Return a store of decoded images, and each file's row in it or the reason why it has none."""
        channels, height, width = shape

        def from_cache(cache: Cache, unit: Path) -> tuple[torch.Tensor, dict[Path, Any]]:
            with FileImageStore(unit / "pixels", shape) as images:
                found = self._cached_rows(cache, unit, images, paths, framing)
                return images.view(), found

        def without_cache() -> tuple[torch.Tensor, dict[Path, Any]]:
            check_fits(len(paths), channels, (height, width))
            images = MemoryImageStore(len(paths), shape)
            return images.view(), {path: value for path, value, _ in self._decoded(paths, images, 0, framing)}

        store, found = self._read(_unit_name(shape, framing), from_cache, without_cache)
        return store, {path: value if isinstance(value, str) else Row(*value) for path, value in found.items()}

    def _read(
        self, what: str, from_cache: Callable[[Cache, Path], Result], without_cache: Callable[[], Result]
    ) -> Result:
        """Return the result of `from_cache` for a unit of the cache; where that fails, warn and use `without_cache`."""

        def waiting() -> None:
            if self.progress is not None:
                self.progress(0, 1, "waiting for another run that reads these images")

        if self.cache is not None:
            try:
                with quiet(), self.cache.unit(f"{self._name}-{what}", waiting) as unit:
                    return from_cache(self.cache, unit)
            except OSError as error:  # of the cache; errors of an image are its outcome
                self.cache = None
                why = str(error) if isinstance(error, CacheFullError) else f"cannot be used: {reason(error)}"
                warn(f"the cache of decoded images {why}; continuing without it")
        with quiet():
            return without_cache()

    def _cached_rows(
        self, cache: Cache, unit: Path, images: FileImageStore, paths: Sequence[Path], framing: Framing
    ) -> dict[Path, Any]:
        """Return the rows of files in the store, after decoding those that are missing."""
        journal = Journal(unit / "journal")
        used, found = _rows_used(journal), self._cached_values(journal, paths)
        if not used or used > min(images.rows, MOST_ROWS * len(paths)):  # rows are lost, or most are out of date
            journal.clear()
            images.renew()
            used, found = 0, {}
        missing = [path for path in paths if path not in found]
        if not missing:
            return found
        rows = used + len(missing)
        extra = max(0, rows - images.rows) * images.row_bytes + JOURNAL_BYTES * len(missing)

        def save() -> None:
            images.sync()  # first: a line of the journal is valid only if the pixels are on the disk
            journal.save()

        try:
            cache.reserve(unit, extra, lambda: images.reserve(rows))
            return found | self._stored(journal, self._decoded(missing, images, used, framing), save)
        finally:
            images.trim(_rows_used(journal))

    def _cached_values(self, journal: Journal, paths: Sequence[Path]) -> dict[Path, Any]:
        """Return the values in the journal of files that have not changed."""
        found = {}
        for path in paths:
            stamp = self._stamp(path)
            value = None if stamp is None else journal.get(self._key(path), stamp)
            if value is not None:
                found[path] = value
        return found

    def _stored(self, journal: Journal, outcomes: Iterator[Outcome], save: Callable[[], None]) -> dict[Path, Any]:
        """Return the values of outcomes; write the lasting ones to the journal every few seconds."""
        found, saved_at = {}, time.monotonic()
        try:
            for path, value, lasting in outcomes:
                found[path] = value
                stamp = self._stamps[path]
                if lasting and stamp is not None:
                    journal.put(self._key(path), stamp, value)
                if time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                    save()
                    saved_at = time.monotonic()
        finally:
            save()
        return found

    def _decoded(
        self, paths: Sequence[Path], images: ImageStore, first_row: int, framing: Framing
    ) -> Iterator[Outcome]:
        """Decode files into the rows of a store, from `first_row` on."""
        channels, height, width = images.shape
        free = itertools.count(first_row)  # a row is used once an image is decoded, so that no row stays empty

        def work(path: Path) -> Row:
            pixels = np.ascontiguousarray(decode(path, (height, width), channels, framing))
            row = next(free)
            images.put(row, pixels)
            return Row(row, digest(pixels).hex(), moments_of(pixels).tolist())

        return self._attempted(work, paths, "decoding images")

    def _attempted(self, work: Callable[[Path], Any], paths: Sequence[Path], doing: str) -> Iterator[Outcome]:
        """Do the work on each file, in threads; an error of a file becomes its value."""

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


def _unit_name(shape: Shape, framing: Framing) -> str:
    """Return the name of the unit of the cache with images of a shape and framing."""
    how = blake2b(repr(framing).encode(), digest_size=4).hexdigest()
    return "x".join(map(str, shape)) + f"-{how}"


def _stamp_or_none(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def _rows_used(journal: Journal) -> int:
    return 1 + max((value[0] for value in journal.values() if not isinstance(value, str)), default=-1)

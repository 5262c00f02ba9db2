"""Headers and pixels of many images: each read once, in parallel, and what was found out kept for later runs."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import PIL
import torch
from PIL import Image

from convwright.data import memory
from convwright.data.cache import GB, Cache, CacheFullError
from convwright.data.dataset import Traits
from convwright.data.decode_worker import is_lasting
from convwright.data.decoders import processes_of_run
from convwright.data.digests import digest, moments_of
from convwright.data.framing import Framing
from convwright.data.image_store import FileImageStore, ImageStoreError, MemoryImageStore, Shape
from convwright.data.images import Header, decode, quiet, read_header, reason
from convwright.data.item_index import ItemIndex, keys_of
from convwright.data.items import Items, Reference, opened, reason_of_item
from convwright.data.stores import PixelStore
from convwright.data.streaming import StreamedImages
from convwright.data.threads import Progress, in_threads
from convwright.errors import warn

LAYOUT = 3
"""Version of the contents of the cache; a cache of another version is not used."""
SECONDS_BETWEEN_SAVES = 5.0
RECORD_BYTES = 160
"""Upper limit of the bytes that the index has for an image."""
MOST_ROWS = 2
"""A cache with more rows than this for each image, because images changed or were deleted, is rebuilt."""
HELD_SHARE = 0.25
"""Share of the free memory that images take at most that are not kept in the cache; more are decoded when used."""
HELD_BYTES = 2**33
"""Upper limit of that memory."""
HELD_BYTES_UNKNOWN = 2**28
"""That memory where the system does not report how much is free."""
MODES = ("", "I", "F")
"""Modes of images with more than 8 bits per channel, by their number in the index."""
HEADER_VALUES = 5

Result = TypeVar("Result")
Store = torch.Tensor | PixelStore


class Headers(NamedTuple):
    """Headers of N images; an image without one has a reason."""

    short_sides: np.ndarray
    """The shorter side of each image, int64 N."""
    grey: np.ndarray
    """Which images are grey, bool N."""
    deep: dict[int, Header]
    """Headers of the images whose format does not say what range their values have, by position."""
    reasons: dict[int, str]
    """By position."""

    @classmethod
    def of(cls, values: np.ndarray, reasons: dict[int, str]) -> "Headers":
        """Return the headers with values of the index: width, height, kind, and the bits of two limits."""
        kinds = values[:, 2]
        deep = {}
        for position in np.flatnonzero(kinds > 2).tolist():
            width, height, kind = values[position, :3].tolist()
            low, high = values[position, 3:].copy().view(np.float64).tolist()
            deep[position] = Header(width, height, kind % 2 == 0, MODES[(kind - 1) >> 1], low, high)
        return cls(values[:, :2].min(1), kinds % 2 == 0, deep, reasons)


class Pixels(NamedTuple):
    """Decoded images; an image that cannot be decoded has a reason."""

    store: Store
    rows: np.ndarray
    """Row of each image in the store, int64 N."""
    traits: Traits
    """Of all N images."""
    reasons: dict[int, str]
    """By position."""


@dataclass(frozen=True)
class _Outcome:
    """What reading an image has led to."""

    values: tuple[int, ...] | None
    reason: str = ""
    lasting: bool = True
    """Whether another attempt would have the same result; False where permission or memory was lacking."""


class Reader:
    """Reads the images of one collection through the cache; without it where the cache cannot be used.

    Args:
        items: The images.
        cache: The cache of decoded images; None: nothing is written.
        progress: Called with the number of images done, their total and a description.
    """

    def __init__(self, items: Items, cache: Cache | None, progress: Progress | None = None) -> None:
        self.items, self.cache, self.progress = items, cache, progress
        identity = repr((items.identity, LAYOUT, PIL.__version__, Image.MAX_IMAGE_PIXELS))
        self._name = blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self._keys: np.ndarray | None = None
        self._wanted = np.ones(len(items.names), bool)

    def headers(self) -> Headers:
        """Return the header of each image."""

        def work(reference: Reference) -> tuple[int, ...]:
            header = read_header(opened(reference))
            limits = np.array([header.low, header.high]).view(np.int64).tolist()
            kind = 1 + header.grey + 2 * MODES.index(header.mode)
            return header.width, header.height, kind, *limits

        def from_cache(cache: Cache, unit: Path) -> tuple[np.ndarray, dict[int, str]]:
            index = ItemIndex(unit / "journal", HEADER_VALUES)
            found, values, reasons = self._known(index)
            if missing := np.flatnonzero(self._wanted & ~found).tolist():
                cache.reserve(unit, RECORD_BYTES * len(missing), lambda: None)
                self._kept(index, work, missing, values, reasons, "reading headers", index.save)
            return values, reasons

        def without_cache() -> tuple[np.ndarray, dict[int, str]]:
            return self._all(work, HEADER_VALUES, "reading headers")

        values, reasons = self._read("headers", from_cache, without_cache)
        return Headers.of(values, reasons)

    def pixels(self, shape: Shape, framing: Framing, wanted: np.ndarray | None = None) -> Pixels:
        """Return the decoded images: from the cache, in memory, or decoded when they are used.

        Args:
            shape: Channels, height and width.
            framing: How images are cropped and resized.
            wanted: Which images to decode, bool N; None: all.
        """
        channels, height, width = shape
        if wanted is not None:
            self._wanted = wanted

        def work(reference: Reference) -> np.ndarray:
            return np.ascontiguousarray(decode(opened(reference), (height, width), channels, framing))

        unit = _unit_name(shape, framing)
        if self.cache is not None and self._fits_cache(self.cache, shape):
            reading = _CachedPixels(self, shape, work)
            found = self._read(unit, reading.from_cache, lambda: None)
            if found is not None:
                return found
        if self._fits_memory(shape):
            return self._in_memory(shape, work)
        return self._streamed(unit, shape, framing, work)

    def _fits_cache(self, cache: Cache, shape: Shape) -> bool:
        """Return whether the cache has room for the images; warn where it has not."""
        needed = self._bytes(shape) + RECORD_BYTES * len(self.items.names)
        if needed <= cache.limit:
            return True
        how = (
            "are held in memory"
            if self._fits_memory(shape)
            else "are decoded in worker processes whenever they are used"
        )
        warn(
            f"{self._size(shape)}, more than the {cache.limit / GB:.3g} GB of the cache, and {how}; "
            f"`cache_gb={math.ceil(1.01 * needed / GB)}` keeps them on disk"
        )
        return False

    def _fits_memory(self, shape: Shape) -> bool:
        free = memory.available_memory()
        most = HELD_BYTES_UNKNOWN if free is None else HELD_SHARE * free / processes_of_run()
        return self._bytes(shape) <= min(HELD_BYTES, most)

    def _size(self, shape: Shape) -> str:
        return f"{len(self.items.names):,} decoded images take {self._bytes(shape) / GB:.3g} GB"

    def _bytes(self, shape: Shape) -> int:
        return len(self.items.names) * int(np.prod(shape))

    def _in_memory(self, shape: Shape, work: Callable[[Reference], np.ndarray]) -> Pixels:
        count = len(self.items.names)
        store = MemoryImageStore(count, shape)

        def decoded(number: int) -> tuple[int, ...]:
            pixels = work(self.items.reference(number))
            store.put(number, pixels)
            return _traits_of(pixels)

        values, reasons = self._all_numbers(decoded, 2 + 2 * shape[0], "decoding images")
        return Pixels(store.view(), np.arange(count), _as_traits(values), reasons)

    def _streamed(self, unit: str, shape: Shape, framing: Framing, work: Callable[[Reference], np.ndarray]) -> Pixels:
        """Return images that are decoded when they are read; each is decoded once now, as its traits are needed."""

        def decoded(reference: Reference) -> tuple[int, ...]:
            return _traits_of(work(reference))

        width, doing = 2 + 2 * shape[0], "decoding images, to check them and find their mean"
        if self.cache is None:
            warn(
                f"{self._size(shape)}, and without a cache they are decoded in worker processes whenever they are "
                f"used; `cache_gb={math.ceil(1.01 * self._bytes(shape) / GB)}` keeps them on disk"
            )

        def from_cache(cache: Cache, path: Path) -> tuple[np.ndarray, dict[int, str]]:
            index = ItemIndex(path / "journal", width)
            found, values, reasons = self._known(index)
            if missing := np.flatnonzero(self._wanted & ~found).tolist():
                cache.reserve(path, RECORD_BYTES * len(missing), lambda: None)
                self._kept(index, decoded, missing, values, reasons, doing, index.save)
            return values, reasons

        values, reasons = self._read(f"{unit}-traits", from_cache, lambda: self._all(decoded, width, doing))
        rows = np.arange(len(self.items.names))
        traits = _as_traits(values)
        return Pixels(StreamedImages(self.items, shape, framing, traits.digests), rows, traits, reasons)

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

    def _known(self, index: ItemIndex) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """Return which images the index has, their values, and the reasons of those without, by position."""
        if self._keys is None:
            self._keys = keys_of(self.items.names)
        places = index.find(self._keys, self.items.stamps)
        found = (places >= 0) & self._wanted
        if found.all():
            values = index.values(places)
        else:
            values = np.zeros((len(places), index.width), np.int64)
            values[found] = index.values(places[found])
        failed = np.flatnonzero(found)[index.failed(places[found])]
        return found, values, dict(zip(failed.tolist(), index.reasons(places[failed]), strict=True))

    def _kept(
        self,
        index: ItemIndex,
        work: Callable[[Reference], tuple[int, ...]],
        missing: list[int],
        values: np.ndarray,
        reasons: dict[int, str],
        doing: str,
        save: Callable[[], None],
    ) -> None:
        """Read the images that are missing; write what lasts to the index every few seconds."""
        assert self._keys is not None
        stamps, saved_at = self.items.stamps, time.monotonic()
        try:
            for number, outcome in self._attempted(lambda one: work(self.items.reference(one)), missing, doing):
                stamp = int(stamps[number])
                if outcome.values is None:
                    reasons[number] = outcome.reason
                    if outcome.lasting and stamp:
                        index.put_reason(self._keys[number], stamp, outcome.reason)
                else:
                    values[number] = outcome.values
                    if stamp:
                        index.put(self._keys[number], stamp, outcome.values)
                if time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                    save()
                    saved_at = time.monotonic()
        finally:
            save()

    def _all(
        self, work: Callable[[Reference], tuple[int, ...]], width: int, doing: str
    ) -> tuple[np.ndarray, dict[int, str]]:
        return self._all_numbers(lambda number: work(self.items.reference(number)), width, doing)

    def _all_numbers(
        self, work: Callable[[int], tuple[int, ...]], width: int, doing: str
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Read all images without the cache."""
        values, reasons = np.zeros((len(self.items.names), width), np.int64), {}
        for number, outcome in self._attempted(work, np.flatnonzero(self._wanted).tolist(), doing):
            if outcome.values is None:
                reasons[number] = outcome.reason
            else:
                values[number] = outcome.values
        return values, reasons

    def _attempted(
        self, work: Callable[[int], tuple[int, ...]], numbers: list[int], doing: str
    ) -> Iterator[tuple[int, _Outcome]]:
        """Do the work on each image, in threads; an error of an image becomes its outcome."""
        stamps = self.items.stamps  # before anything is read

        def attempt(number: int) -> _Outcome:
            try:
                values = work(number)
                if int(stamps[number]) == self.items.stamp_now(number):
                    return _Outcome(values)
                return _Outcome(None, "it changed while it was read", lasting=False)
            except ImageStoreError:
                raise
            except Exception as error:  # Pillow raises nearly anything on damaged files
                why = reason_of_item(self.items, number, error)
                return _Outcome(None, why, is_lasting(error))

        outcomes = in_threads(attempt, numbers, self.progress, doing)
        return zip(numbers, outcomes, strict=True)


class _CachedPixels:
    """Pixels of a collection in a unit of the cache."""

    def __init__(self, reader: Reader, shape: Shape, work: Callable[[Reference], np.ndarray]) -> None:
        self.reader, self.shape, self.work = reader, shape, work

    def from_cache(self, cache: Cache, unit: Path) -> Pixels | None:
        """Return the images, after decoding those that are missing."""
        with FileImageStore(unit / "pixels", self.shape) as store:
            values, reasons = self._values(cache, unit, store)
            return Pixels(store.view(), values[:, 0].copy(), _as_traits(values[:, 1:]), reasons)

    def _values(self, cache: Cache, unit: Path, store: FileImageStore) -> tuple[np.ndarray, dict[int, str]]:
        reader, count = self.reader, len(self.reader.items.names)
        index = ItemIndex(unit / "journal", 3 + 2 * self.shape[0])
        used = _rows_used(index)
        if not used or used > min(store.rows, MOST_ROWS * count):  # rows are lost, or most are out of date
            index.clear()
            store.renew()
            used = 0
        found, values, reasons = reader._known(index)
        missing = np.flatnonzero(reader._wanted & ~found).tolist()
        if not missing:
            return values, reasons
        rows = used + len(missing)
        extra = max(0, rows - store.rows) * store.row_bytes + RECORD_BYTES * len(missing)
        free = itertools.count(used)  # a row is used once an image is decoded, so that no row stays empty

        def decoded(reference: Reference) -> tuple[int, ...]:
            pixels = self.work(reference)
            row = next(free)
            store.put(row, pixels)
            return row, *_traits_of(pixels)

        def save() -> None:
            store.sync()  # first: a record is valid only if the pixels are on the disk
            index.save()

        try:
            cache.reserve(unit, extra, lambda: store.reserve(rows))
            reader._kept(index, decoded, missing, values, reasons, "decoding images", save)
            return values, reasons
        finally:
            store.trim(_rows_used(index))


def _traits_of(pixels: np.ndarray) -> tuple[int, ...]:
    return (*np.frombuffer(digest(pixels), np.int64).tolist(), *moments_of(pixels).ravel().tolist())


def _as_traits(values: np.ndarray) -> Traits:
    """Return traits from columns: two of the digest, then sums and sums of squares by channel."""
    digests = np.ascontiguousarray(values[:, :2]).view(np.uint8)
    moments = np.ascontiguousarray(values[:, 2:]).reshape(len(values), 2, -1)
    return Traits(torch.from_numpy(digests), torch.from_numpy(moments))


def _unit_name(shape: Shape, framing: Framing) -> str:
    """Return the name of the unit of the cache with images of a shape and framing."""
    how = blake2b(repr(tuple(framing)).encode(), digest_size=4).hexdigest()
    return "x".join(map(str, shape)) + f"-{how}"


def _rows_used(index: ItemIndex) -> int:
    return 1 + int(index.column(0).max(initial=-1))

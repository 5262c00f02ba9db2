"""Stores of decoded images, written row by row from several threads: in memory, or in a mapped file."""

import mmap
import os
import warnings
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch

Shape = tuple[int, int, int]


class ImageStoreError(OSError):
    """An image could not be written to its store; the image itself is intact."""


class ImageStore(Protocol):
    """Rows of uint8 images of one shape."""

    shape: Shape

    def put(self, row: int, pixels: np.ndarray) -> None:
        """Write one image. For threads."""

    def view(self) -> torch.Tensor:
        """Return all rows."""


class MemoryImageStore:
    """Rows in memory."""

    def __init__(self, rows: int, shape: Shape) -> None:
        self.shape = shape
        self._images = torch.empty(rows, *shape, dtype=torch.uint8)
        self._pixels = self._images.numpy()

    def put(self, row: int, pixels: np.ndarray) -> None:
        """Write one image."""
        self._pixels[row] = pixels

    def view(self) -> torch.Tensor:
        """Return all rows."""
        return self._images


class FileImageStore:
    """Rows in a file, read through a map, so that they may be more than the memory holds.

    Rows are written by system calls and not through the map, where a full disk would kill the process. A row that other
    processes may have mapped is never changed or removed: `renew` starts a new file.
    """

    def __init__(self, path: Path, shape: Shape) -> None:
        self.path, self.shape = path, shape
        self.row_bytes = int(np.prod(shape))
        self._file = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return os.fstat(self._file).st_size // self.row_bytes

    def reserve(self, rows: int) -> None:
        """Allocate space for `rows` rows; OSError where the disk has less."""
        size = rows * self.row_bytes
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, max(size, 1))
        elif size > os.fstat(self._file).st_size:
            os.truncate(self._file, size)

    def put(self, row: int, pixels: np.ndarray) -> None:
        """Write one image."""
        try:
            written = os.pwrite(self._file, pixels.data, row * self.row_bytes)
        except OSError as error:
            raise ImageStoreError(error.errno, error.strerror) from error
        if written < self.row_bytes:
            raise ImageStoreError("No space left on device")

    def renew(self) -> None:
        """Begin with an empty file; processes that have mapped the old file keep it."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = self._opened()

    def sync(self) -> None:
        """Flush written rows to disk."""
        os.fsync(self._file)

    def trim(self, rows: int) -> None:
        """Release the space after the first `rows` rows."""
        os.truncate(self._file, rows * self.row_bytes)

    def _opened(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def view(self) -> torch.Tensor:
        """Map all rows, for reading only."""
        rows = self.rows
        if not rows:  # nothing cannot be mapped
            return torch.empty(0, *self.shape, dtype=torch.uint8)
        mapped = mmap.mmap(self._file, rows * self.row_bytes, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that the tensor must not be written to
            return torch.frombuffer(mapped, dtype=torch.uint8).view(-1, *self.shape)

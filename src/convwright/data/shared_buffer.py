"""Memory that two processes share, and that the system frees when both have ended, however they end."""

import mmap
import os
import tempfile
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "convwright-"


class SharedBuffer:
    """A buffer that grows. A process that inherits its descriptor, or opens its file, maps the same memory.

    The memory has no name that a killed process could leave behind, except on Windows, where it is a temporary file.
    """

    def __init__(self) -> None:
        self._descriptor = _unnamed_file() if os.name == "posix" else None
        self._file: Path | None = None
        self._map: mmap.mmap | None = None

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that the other process must inherit when it is started."""
        return () if self._descriptor is None else (self._descriptor,)

    @property
    def name(self) -> int | str:
        """What the other process finds the memory by: a descriptor, or a path."""
        return str(self._file) if self._descriptor is None else self._descriptor

    def mapped(self, size: int) -> mmap.mmap:
        """Return a map of at least this many bytes; maps that were returned before keep theirs.

        Raises:
            OSError: There is no room.
        """
        if self._map is None or len(self._map) < size:
            if self._descriptor is None:
                self._map = self._map_of_new_file(size)
            else:
                _reserve(self._descriptor, size)
                self._map = mmap.mmap(self._descriptor, size)
        return self._map

    def _map_of_new_file(self, size: int) -> mmap.mmap:
        self._remove_file()
        descriptor, path = tempfile.mkstemp(prefix=PREFIX)
        self._file = Path(path)
        try:
            os.truncate(descriptor, size)
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def _remove_file(self) -> None:
        self._map = None  # maps are closed once no array needs them
        if self._file is not None:
            with suppress(OSError):  # Windows refuses while it is mapped
                self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Free the memory, once no array uses it."""
        self._remove_file()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _unnamed_file() -> int:
    """Return the descriptor of a file that no folder lists: in memory where the system can."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # an old kernel, or a sandbox
            return os.memfd_create(PREFIX)
    folder = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryFile(prefix=PREFIX, dir=folder) as file:
        return os.dup(file.fileno())


def _reserve(descriptor: int, size: int) -> None:
    """Enlarge a file; a map of one without room would end the process when it is written."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)

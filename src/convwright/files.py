"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path

from convwright.errors import ConvwrightError

DEVICES = Path("/dev")
DIGEST_BYTES = 16


def cache_folder() -> Path:
    """Return where downloads, decoded images and compiled kernels are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convwright"


def digest(path: Path) -> str:
    """Return a digest of a file: 32 hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, partial(blake2b, digest_size=DIGEST_BYTES)).hexdigest()


def digest_of(content: bytes) -> str:
    """Return the digest of a file with this content."""
    return blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Write a text file atomically. mode: its permissions, if not the usual ones."""

    def write(temporary: Path) -> None:
        if mode is not None:
            temporary.touch(mode)
            temporary.chmod(mode)
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary file, sync it to disk, and only then give it its name.

    A symbolic link stays one: its target is replaced. Pipes and devices, as /dev/stdout, are written to as they
    are. Raises ConvwrightError where the disk is full or does not allow it; what was there before then stays.
    """
    if path.is_dir():
        raise ConvwrightError(f"{path} could not be written: it is a folder; name a file in it")
    try:
        if path.parent == DEVICES or (path.exists() and not path.is_file()):
            write(path)
        else:
            _replace(path.resolve() if path.is_symlink() else path, write)
    except Exception as error:  # writers of torch and safetensors have errors of their own for a full disk
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
        raise ConvwrightError(f"{path} could not be written: {reason}") from None


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # there may be no such folder
            temporary.unlink()
        raise

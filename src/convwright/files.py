"""Files and folders that are written whole or not at all, also by several writers at once."""

import codecs
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from convwright.errors import ConvwrightError, WriteError
from convwright.machine import user_id

DEVICES = Path("/dev")
DIGEST_BYTES = 16
PARTIAL = ".partial"
"""Suffix of files and folders that are still being written; a killed process leaves them behind."""
_RANDOM = f"[0-9a-f]{{16}}{re.escape(PARTIAL)}"
_TEMPORARY = re.compile(rf"\..*\.{_RANDOM}", re.DOTALL)
"""Name of a file or folder that is being written, by `temporary_beside`."""
_ABANDONED_SECONDS = 7 * 86400
"""A temporary file to which nobody has written for so long is that of a killed process."""
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "jp2", "png", "gif", "webp", "avif", "heic", "heif"),
        *("bmp", "dib", "pbm", "pgm", "pnm", "ppm", "tga", "tif", "tiff"),
    )
)
"""Suffixes of image files, those of formats that Pillow may lack (HEIC) included: such files are reported by name."""
_REPLACE_ATTEMPTS = 1000
_SHARING = getattr(os, "O_BINARY", 0) != 0  # Windows
"""Whether a file cannot be replaced while another program has it open."""
_SHARING_SECONDS = 5.0
"""How long such a program, mostly a virus scanner or an indexer, is waited for."""


def cache_folder() -> Path:
    """Return the folder that keeps downloads, decoded images and compiled kernels.

    It is `XDG_CACHE_HOME` or `~/.cache`; for a user without a home, a private folder in the system's temporary one.

    Raises:
        ConvwrightError: There is no home, and another user owns the temporary folder of this name.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "convwright"
    try:
        return Path.home() / ".cache" / "convwright"
    except RuntimeError:  # neither HOME nor an entry in the system's list of users
        return _private_temporary_folder()


def _private_temporary_folder() -> Path:
    import tempfile

    user = user_id()
    if user is None:  # on Windows every user has a temporary folder
        return Path(tempfile.gettempdir()) / "convwright"
    folder = Path(tempfile.gettempdir()) / f"convwright-{user}"
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022:
        raise ConvwrightError(f"{folder}: not a private folder of this user; set XDG_CACHE_HOME to a folder for caches")
    return folder


def digest(path: Path) -> str:
    """Return a digest of a file: 32 hexadecimal digits."""
    from hashlib import blake2b, file_digest

    with path.open("rb") as file:
        return file_digest(file, partial(blake2b, digest_size=DIGEST_BYTES)).hexdigest()


def digest_of(*content: bytes | memoryview) -> str:
    """Return the digest of a file with this content, which may be given in pieces."""
    from hashlib import blake2b

    whole = blake2b(digest_size=DIGEST_BYTES)
    for piece in content:
        whole.update(piece)
    return whole.hexdigest()


def as_utf8(content: bytes) -> bytes:
    """Return the content of a user's text file in UTF-8 without a byte-order mark.

    Windows editors begin UTF-8 files with a mark, and PowerShell writes UTF-16 with one. Every reader of text that
    users write or edit starts here.

    Args:
        content: The file's bytes. Without a mark they are returned as they are, also where they are not UTF-8.
    """
    if content.startswith(codecs.BOM_UTF8):
        return content[len(codecs.BOM_UTF8) :]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with suppress(UnicodeDecodeError):
            return content.decode("utf-16").encode()
    return content


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    r"""Write a UTF-8 text file atomically.

    Args:
        path: File to write.
        text: Its content. What UTF-8 cannot hold, as undecodable bytes of file names, is written as `\udc..` escapes.
        mode: Permissions; None keeps those of a file that is replaced, and leaves a new one to the umask.

    Raises:
        ConvwrightError: The file could not be written.
    """
    content = text.encode("utf-8", "backslashreplace")

    def write(temporary: Path) -> None:
        if mode is not None:
            temporary.touch(mode)
            temporary.chmod(mode)
        temporary.write_bytes(content)

    write_atomically(path, write, mode)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a binary file atomically. ConvwrightError if it could not be written."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_atomically(path: Path, write: Callable[[Path], object], mode: int | None = None) -> None:
    """Let `write` fill a temporary file, sync it to disk, and only then rename it to `path`.

    The temporary name is unique, so of several writers each publishes a whole file and the last one stays. A symbolic
    link stays one: its target is replaced. Pipes and devices, as /dev/stdout, are written to as they are.

    Args:
        path: File to write.
        write: Function that writes the content to the path that it is given.
        mode: Permissions that `write` sets; None keeps those of a file that is replaced.

    Raises:
        WriteError: The system could not write the file (`OSError`); a file of this name stays as it was. Every
            other error of `write` is raised as it is.
    """
    if path.is_dir():
        raise ConvwrightError(f"{path} could not be written: it is a folder; name a file in it")
    try:
        if path.parent == DEVICES or (path.exists() and not path.is_file()):
            write(path)
        else:
            _replace(path.resolve() if path.is_symlink() else path, write, mode)
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from None


def _replace(path: Path, write: Callable[[Path], object], mode: int | None) -> None:
    _remove_abandoned(path)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        with temporary.open("r+b" if _SHARING else "rb") as file:  # Windows syncs only files opened for writing
            os.fsync(file.fileno())
        if mode is None:
            with suppress(OSError):  # there was no file
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        _when_closed(temporary.replace, path)
    except BaseException:
        with suppress(OSError):  # there may be no such folder
            temporary.unlink()
        raise


def _when_closed(rename: Callable[[Path], object], path: Path) -> None:
    """Rename something to `path`; where open files cannot be renamed or replaced, try until they are closed."""
    deadline = time.monotonic() + _SHARING_SECONDS
    while True:
        try:
            rename(path)
            return
        except PermissionError:
            if not _SHARING or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a temporary folder that becomes `path` when the block ends without an error.

    Args:
        path: Folder to make.
        replace: Whether a folder of this name is replaced; else only an empty one is.

    Yields:
        The temporary folder, beside `path`.

    Raises:
        ConvwrightError: `path` exists and is not to be replaced, or the system could not make it. What was there stays.
    """
    _remove_abandoned(path)
    temporary = temporary_beside(path)
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise ConvwrightError(f"{path}: the folder could not be made: {error.strerror or error}") from None
        yield temporary
        try:
            _publish_folder(temporary, path, replace)
        except OSError as error:
            raise ConvwrightError(f"{path}: the folder could not be made: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish_folder(temporary: Path, path: Path, replace: bool) -> None:
    for _ in range(_REPLACE_ATTEMPTS):
        try:
            _when_closed(temporary.rename, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not replace:
                if any(path.iterdir()):
                    raise
                path.rmdir()  # on Windows nothing can be renamed to an empty folder
                continue
        previous = temporary_beside(path)
        with suppress(FileNotFoundError):  # another writer has moved it away
            path.rename(previous)
            shutil.rmtree(previous, ignore_errors=True)
    raise OSError(errno.EBUSY, "other processes keep replacing it")


def temporary_beside(path: Path) -> Path:
    """Return an unused hidden name in the same folder, for what is to be renamed to `path`."""
    return path.with_name(f"{_temporary_prefix(path)}{os.urandom(8).hex()}{PARTIAL}")


def _temporary_prefix(path: Path) -> str:
    return f".{path.name[:40]}."


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; others may be writing, so only what is old goes."""
    prefix, now = _temporary_prefix(path), time.time()
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if re.fullmatch(re.escape(prefix) + _RANDOM, entry.name):
                left = Path(entry.path)
                times = [each.lstat().st_mtime for each in (left, *left.rglob("*"))]
                if now - max(times) > _ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without temporary files of killed writers; none if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not _TEMPORARY.fullmatch(path.name))


def remove_partial(folder: Path) -> None:
    """Remove the files that killed writers left in a folder in which no other process writes files now."""
    for stale in folder.glob(f".*{PARTIAL}"):
        if stale.is_file():
            stale.unlink(missing_ok=True)


def packed(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their paths in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a folder of packed files, completely or not at all; an earlier one is replaced."""
    with new_folder(folder, replace=True) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(temporary / name, content)

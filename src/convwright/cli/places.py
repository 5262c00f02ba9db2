"""Places that commands write to, checked before any work is done."""

import os
from pathlib import Path

from convwright.checksums import belongs_to_run
from convwright.errors import UsageError


def check_file(option: str, path: Path | None) -> None:
    """Raise UsageError where a file cannot be written.

    Args:
        option: The option that names the file, for the message.
        path: The file; None is no file. A file that exists is replaced; pipes and devices are written to.
    """
    if path is None:
        return
    from convwright.data.images import IMAGE_SUFFIXES

    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        raise UsageError(f"{option} {path} is an image, which would be replaced; name another file")
    if belongs_to_run(path.absolute()):
        raise UsageError(f"{option} {path} is a file of a run, which would be replaced; name another file")
    try:
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; name a file in it")
        if path.exists() and not path.is_file():
            return
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_symlink():
            raise UsageError(f"{option} {path} is a link to itself; name another file")
        if not target.absolute().parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {target.parent}")
        _check_writable(option, path, target.absolute().parent)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}; name another file") from None


def check_new_folder(option: str, path: Path) -> None:
    """Raise UsageError where a new folder cannot be made. An empty one may exist; missing parents are made.

    Args:
        option: The option that names the folder, for the message.
        path: The folder.
    """
    check_folder(option, path)
    if path.is_symlink():
        raise UsageError(f"{option} {path} is a symbolic link; name a new folder")
    if path.resolve() == Path.cwd():
        raise UsageError(f"{option} {path} is the current folder, which cannot be replaced; name a new folder in it")
    if path.is_dir():
        if path.is_mount():
            raise UsageError(f"{option} {path} is a file system of its own; name a new folder in it")
        if any(path.iterdir()):
            raise UsageError(f"{option} {path} exists and is not empty; name a new folder")
        _check_writable(option, path, path.absolute().parent)


def check_folder(option: str, path: Path) -> None:
    """Raise UsageError where a folder can neither be made nor, if it exists, be written to.

    Args:
        option: The option that names the folder, for the message.
        path: The folder.
    """
    try:
        if path.is_symlink() and not path.exists():
            raise UsageError(f"{option} {path} is a broken link; name another folder")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{option} {path} is a file; name a folder")
        existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if os.path.lexists(parent))
        if not existing.is_dir():
            raise UsageError(f"{option} {path}: {existing} is not a folder; name another place")
        if path.resolve() == Path(path.resolve().anchor):
            raise UsageError(f"{option} {path} is the root of the file system; name a folder in it")
        _check_writable(option, path, existing)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}; name another folder") from None


def _check_writable(option: str, path: Path, folder: Path) -> None:
    """Write a nameless file: permissions alone do not tell of read-only and full file systems."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path}: {folder} cannot be written to: {error.strerror or error}") from None

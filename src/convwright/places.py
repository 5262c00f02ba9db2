"""Files and folders that results are written to, checked before any work is done."""

import os
from pathlib import Path

from convwright.checksums import belongs_to_run
from convwright.errors import ArgumentError
from convwright.files import IMAGE_SUFFIXES


def without_folders(path: str | Path) -> str:
    """Return the last part of a path, for files and pages that are published.

    Args:
        path: A path, also several with `::` between them, or a name such as that of a built-in data set. Names stay,
            and so do addresses such as `hf:user/name` and `https://...`.
    """
    text = str(path)
    if not text or text.startswith("hf:") or "://" in text:
        return text
    return "::".join(Path(os.path.normpath(Path(part).absolute())).name or part for part in text.split("::"))


def check_file(argument: str, path: Path | None) -> None:
    """Check that a file can be written.

    Args:
        argument: Name of the parameter that holds the file, for the message.
        path: The file; None is no file. A file that exists is replaced; pipes and devices are written to.

    Raises:
        ArgumentError: The file cannot be written, is an image, or belongs to a run.
    """
    if path is None:
        return
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        raise ArgumentError(argument, f"{path} is an image, which would be replaced; name another file")
    if belongs_to_run(path.absolute()):
        raise ArgumentError(argument, f"{path} is a file of a run, which would be replaced; name another file")
    try:
        if path.is_dir():
            raise ArgumentError(argument, f"{path} is a folder; name a file in it")
        if path.exists() and not path.is_file():
            return
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_symlink():
            raise ArgumentError(argument, f"{path} is a link to itself; name another file")
        if not target.absolute().parent.is_dir():
            raise ArgumentError(argument, f"{path}: there is no folder {target.parent}")
        _check_writable(argument, path, target.absolute().parent)
    except OSError as error:
        raise ArgumentError(argument, f"{path}: {error.strerror or error}; name another file") from None


def check_page(argument: str, path: Path | None) -> None:
    """Check that a page can be written.

    Args:
        argument: Name of the parameter that holds the file, for the message.
        path: The file; None is no file.

    Raises:
        ArgumentError: The file is not named .html, or cannot be written.
    """
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(argument, f"{path}: the figures are a page, which is named .html")
    check_file(argument, path)


def check_new_folder(argument: str, path: Path) -> None:
    """Check that a new folder can be made. An empty folder may exist; missing parents are made.

    Args:
        argument: Name of the parameter that holds the folder, for the message.
        path: The folder.

    Raises:
        ArgumentError: The folder cannot be made, is not empty, or is no folder of its own.
    """
    check_folder(argument, path)
    if path.is_symlink():
        raise ArgumentError(argument, f"{path} is a symbolic link; name a new folder")
    if path.resolve() == Path.cwd():
        raise ArgumentError(
            argument, f"{path} is the current folder, which cannot be replaced; name a new folder in it"
        )
    if path.is_dir():
        if os.path.ismount(path):
            raise ArgumentError(argument, f"{path} is a file system of its own; name a new folder in it")
        if any(path.iterdir()):
            raise ArgumentError(argument, f"{path} exists and is not empty; name a new folder")
        _check_writable(argument, path, path.absolute().parent)


def check_folder(argument: str, path: Path) -> None:
    """Check that a folder can be made or, if it exists, be written to.

    Args:
        argument: Name of the parameter that holds the folder, for the message.
        path: The folder.

    Raises:
        ArgumentError: The folder cannot be made or written to.
    """
    try:
        if path.is_symlink() and not path.exists():
            raise ArgumentError(argument, f"{path} is a broken link; name another folder")
        if path.exists() and not path.is_dir():
            raise ArgumentError(argument, f"{path} is a file; name a folder")
        existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if os.path.lexists(parent))
        if not existing.is_dir():
            raise ArgumentError(argument, f"{path}: {existing} is not a folder; name another place")
        if path.resolve() == Path(path.resolve().anchor):
            raise ArgumentError(argument, f"{path} is the root of the file system; name a folder in it")
        _check_writable(argument, path, existing)
    except OSError as error:
        raise ArgumentError(argument, f"{path}: {error.strerror or error}; name another folder") from None


def _check_writable(argument: str, path: Path, folder: Path) -> None:
    """Write a nameless file, since permissions do not show read-only and full file systems."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArgumentError(argument, f"{path}: {folder} cannot be written to: {error.strerror or error}") from None

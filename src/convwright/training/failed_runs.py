"""Run directories that may be replaced: their training failed before it had a usable checkpoint."""

import os
from pathlib import Path

from convwright.checksums import NAME, OWN_FILES, RUN_FILES, Checksums
from convwright.errors import RunError
from convwright.locks import LockHeldError, locked

LOCK = "checkpoints/lock"
RESULTS = ("summary.json", "model.safetensors")
"""Files of a run that has results: weights of a validation with finite outputs, or a summary."""
FOLDERS = ("checkpoints", "tensorboard")
"""Folders that training writes in a run directory."""


def has_failed(path: Path) -> bool:
    """Return whether a run directory has nothing that could be used or resumed, and no files of others.

    Such a run has diverged, or was killed before its first checkpoint. Its weights were never finite in a validation.

    Args:
        path: The folder.
    """
    try:
        if not all((path / name).is_file() for name in (NAME, *RUN_FILES)):
            return False
        if path.is_symlink() or os.path.ismount(path) or _is_current(path):
            return False
        validated = (path / "metrics.csv").exists()
        resumable = any((path / "checkpoints").glob("step-*.pt")) and not validated
        if resumable or any((path / name).exists() for name in RESULTS):
            return False
        return _has_own_files_only(path) and not is_held(path)
    except (OSError, RunError):  # what cannot be read stays
        return False


def _is_current(path: Path) -> bool:
    return path.resolve() == Path.cwd() or path.resolve() in Path.cwd().parents


def _has_own_files_only(path: Path) -> bool:
    files = Checksums(path)
    known = {NAME, *OWN_FILES, *FOLDERS}
    return all(each.name in known or files.lists(each.name) for each in path.iterdir())


def is_held(path: Path) -> bool:
    """Return whether a process is training the run."""
    if not (path / "checkpoints").is_dir():
        return False
    try:
        with locked(path / LOCK, wait=False, required=False):
            return False
    except LockHeldError:
        return True

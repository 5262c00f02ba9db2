"""Plug-ins: what installed packages add to Convwright through entry points."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.errors import ConvwrightError, warn

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def load_plugins(group: str, use: Callable[[str, object], None]) -> None:
    """Load the entry points of a group, in the order of their names.

    A plug-in that fails is reported in a warning of one line, and the others are loaded.

    Args:
        group: Group of entry points, such as `convwright.networks`.
        use: Function of an entry point's name and of the object that it refers to. It may raise any error.
    """
    if not _is_provided(group):
        return
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=group), key=lambda each: each.name):
        try:
            use(entry.name, entry.load())
        except (Exception, SystemExit) as error:  # of another package's code
            warn(_report(group, entry, error))


def _report(group: str, entry: "EntryPoint", error: BaseException) -> str:
    package = entry.dist.name if entry.dist else entry.value
    reason = " ".join(
        (str(error) if isinstance(error, ConvwrightError) else f"{type(error).__name__}: {error}").split()
    )
    return f"the plug-in {entry.name!r} of {package} ({group}) is left out: {reason:.300}"


def _is_provided(group: str) -> bool:
    """Whether an installed package may have entry points of a group.

    `importlib.metadata` has the exact answer, but importing it would slow down every command.
    """
    for folder in map(Path, sys.path):
        try:
            if folder.is_file():  # an archive
                return True
            names = [name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))]  # noqa: PTH208
        except OSError:
            continue
        if any(group in _text_of(folder / name / "entry_points.txt") for name in names):
            return True
    return False


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

"""Removes the files of a design that is refused before any training."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convwright.designing.request import SPLIT, STUDY
from convwright.designing.state import CLOCK, DECISIONS, FEATURES, STATE
from convwright.errors import UsageError
from convwright.scaling.study_options import DATABASE_FILES

LOCK = ".lock"
"""File in a design's folder that is locked while a process works on the design."""
RACE = "race"
"""Folder in a design's folder with the runs of its trials."""
WRITTEN = (STATE, CLOCK, DECISIONS, SPLIT, STUDY, *DATABASE_FILES, LOCK)
"""Files that a design writes before it trains anything."""


def missing_folders(folder: Path) -> list[Path]:
    """Return a folder and those above it that do not exist, the innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


@contextmanager
def removing_refused(folder: Path, before: set[str], made: list[Path]) -> Iterator[None]:
    """Remove what a new design has written into its folder if it is refused before anything is trained.

    Files of others stay, and so does a design that was in the folder before.

    Args:
        folder: Folder of the design.
        before: Names of what was in it before the design.
        made: Folders that were made for it, the innermost first; they are removed if they are empty.
    """
    try:
        yield
    except UsageError:
        if STATE not in before and not (folder / RACE).exists():
            for name in {*WRITTEN} - before:
                with suppress(OSError):
                    (folder / name).unlink(missing_ok=True)
            for each in (folder / FEATURES, *made):
                with suppress(OSError):  # a folder that is not empty stays
                    each.rmdir()
        raise

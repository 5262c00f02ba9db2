"""One folder of compiled kernels for all tests, also for those with their own cache: compiling takes half a minute."""

import os
from pathlib import Path

FOLDER = "CONVWRIGHT_TEST_KERNELS"
"""Environment variable with the folder, which processes inherit."""


def share_kernels(cache: Path) -> None:
    """Let a new folder for caches, a value of XDG_CACHE_HOME, have the compiled kernels of all tests."""
    place = cache / "convwright" / "compiled"
    place.parent.mkdir(parents=True, exist_ok=True)
    if FOLDER in os.environ:
        place.symlink_to(os.environ[FOLDER])
    else:
        place.mkdir()
        os.environ[FOLDER] = str(place)

"""Compiled kernels that all tests share, also those with a cache of their own: compiling takes half a minute."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "kernels"
"""Kept between runs of the tests: names have a digest of the sources, the compiler and the processor."""


def share_kernels(cache: Path) -> None:
    """Let a new folder for caches, a value of XDG_CACHE_HOME, have the compiled kernels of all tests."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (cache / "convwright").mkdir(parents=True, exist_ok=True)
    (cache / "convwright" / "compiled").symlink_to(FOLDER)

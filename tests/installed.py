"""Packages that tests run in programs of their own."""

from importlib.util import find_spec

import pytest


def skip_without(package: str) -> None:
    """Skip a test, or a module, without a package, which is not imported: Locust's import replaces Python's threads."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

"""Packages that deploying needs, and one clear line where one is missing. No torch in here."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from convwright.errors import UsageError

EXTRA = "deploy"


def require_package(module: str, what: str) -> Any:
    """Import a package of the extra. UsageError says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        if find_spec(module.partition(".")[0]) is not None:  # there, but broken
            raise UsageError(f"{what} needs {module}, which cannot be loaded here: {error}") from None
        name = module.partition(".")[0]
        raise UsageError(f"{what} needs {name}: pip install 'convwright[{EXTRA}]'") from None


def installed(module: str) -> bool:
    """Is a package there?"""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def version(package: str) -> str:
    """Return an installed package's version, or an empty text."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(package)
    except PackageNotFoundError:
        return ""

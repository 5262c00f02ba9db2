"""The version of the package: a build takes it from Git's tags and writes it to `_version.py`."""

try:
    from convwright._version import __version__
except ImportError:  # sources that were neither built nor installed
    __version__ = "0.1.0.dev0"

__all__ = ["__version__"]

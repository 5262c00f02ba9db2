"""The layer graph as torch modules."""

from convwright.modules.builder import ConvNet, build

__all__ = ["ConvNet", "build"]

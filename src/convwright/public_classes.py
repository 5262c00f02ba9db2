"""Classes of the public functions, for lower packages that return them without importing what is above them."""

from collections.abc import Callable

CLASSES: dict[str, Callable[[], object]] = {}
"""Functions that import and return the class of a public name. `convwright` itself adds them."""

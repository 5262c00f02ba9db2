"""Modules can be imported under their own names."""

import importlib
import pkgutil
from types import ModuleType

import convwright


def test_no_package_attribute_hides_a_module() -> None:
    """`import convwright.arch.cost` gives the module, not a function of the same name."""
    packages = [convwright.__name__]
    packages += [found.name for found in pkgutil.walk_packages(convwright.__path__, "convwright.") if found.ispkg]
    assert len(packages) > 10
    for name in packages:
        package = importlib.import_module(name)
        for found in pkgutil.iter_modules(package.__path__):
            if found.name != "__main__":
                importlib.import_module(f"{name}.{found.name}")
                assert isinstance(getattr(package, found.name), ModuleType), f"{name}.{found.name}"

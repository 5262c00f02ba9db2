"""Modules can be imported under their own names."""

import importlib
import pkgutil
from types import ModuleType

import pytest

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


def test_no_module_is_in_an_import_cycle() -> None:
    """Imports inside functions count too; those for type checkers alone do not."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("convwright", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    assert not cycles(imports)


def test_cycles_are_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}
    assert not cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def cycles(imports: dict[str, set[str]]) -> set[str]:
    """Return the modules that import themselves through others: all that is left without leaves and roots."""
    left = {module: set(imported) for module, imported in imports.items()}
    while True:
        used = set().union(*left.values()) if left else set()
        edges = {module for module, imported in left.items() if not imported or module not in used}
        if not edges:
            return set(left)
        left = {module: imported - edges for module, imported in left.items() if module not in edges}

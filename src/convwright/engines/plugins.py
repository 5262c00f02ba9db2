"""Engines of other packages, which register in the entry point group `convwright.engines`. No torch in here.

A package names its engine in its `pyproject.toml`:

    [project.entry-points."convwright.engines"]
    abacus = "abacus_engine:ENGINE"

`ENGINE` is an object of the class `Engine`. A plug-in that cannot be used is reported in one warning, and all other
engines work as if it were not installed.
"""

import re
from collections.abc import Iterator
from functools import cache

from convwright.engines.engine import PRECISIONS, SUFFIXES, Engine
from convwright.engines.own import OWN_ENGINES
from convwright.errors import UsageError
from convwright.plugins import load_plugins

GROUP = "convwright.engines"
RESERVED = frozenset(("torch", "torch-channels-last", "torch-compile", "torch-folded", *OWN_ENGINES))
"""Names that `bench` lists already."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@cache
def plugin_engines() -> dict[str, Engine]:
    """Return the engines of other packages by name; loaded once for each process.

    Warns:
        ConvwrightWarning: A plug-in cannot be loaded or does not meet the contract; it is left out.
    """
    found: dict[str, Engine] = {}

    def add(_: str, engine: object) -> None:
        if wrong := list(faults(engine, found)):
            raise UsageError("; ".join(wrong))
        assert isinstance(engine, Engine)
        found[engine.name] = engine

    load_plugins(GROUP, add)
    return found


def faults(engine: object, found: dict[str, Engine]) -> Iterator[str]:
    """Yield in what respects an object does not meet the contract of an engine.

    Args:
        engine: The object.
        found: Engines of other packages so far, by name.
    """
    if not isinstance(engine, Engine):
        yield f"it must be a convwright.engines.Engine, not {type(engine).__name__}"
        return
    if not isinstance(engine.name, str) or not _NAME.fullmatch(engine.name):
        yield f"its name must be lower-case letters, digits and hyphens, not {engine.name!r}"
    elif engine.name in RESERVED or engine.name in found:
        yield f"another engine has the name {engine.name!r}"
    if not isinstance(engine.package, str) or not all(part.isidentifier() for part in engine.package.split(".")):
        yield f"its package must be the name of a module, not {engine.package!r}"
    for field, values, choices in (
        ("reads", engine.reads, sorted(SUFFIXES)),
        ("precisions", engine.precisions, PRECISIONS),
    ):
        if not isinstance(values, tuple) or not values or not {*map(str, values)} <= {*choices}:
            yield f"its {field} must be a tuple of one or more of {', '.join(choices)}, not {values!r}"
    for name in ("open", "lacks"):
        if not callable(function := getattr(engine, name)):
            yield f"its {name} must be a function, not {function!r}"

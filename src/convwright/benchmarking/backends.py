"""What `bench` can measure: torch as it trains, and every engine that runs exported files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from convwright.engines.engine import PRECISIONS, Engine
from convwright.engines.registry import engines
from convwright.engines.runner import has_bf16
from convwright.errors import ArgumentError
from convwright.extras import install_command, installed


@dataclass(frozen=True)
class Backend:
    """A network's module in torch, or its exported file in an engine."""

    name: str
    """Name for users, as in `--engine NAME`."""
    package: str
    """Module that must be importable."""
    precisions: tuple[str, ...]
    suffix: str = ""
    """Suffix of the exported file that it runs; empty for the module as it was trained."""
    engine: str = ""
    """Engine that opens the file; empty for the module."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it computes."""
    lacks: Callable[[], str] = str
    """Returns what the backend needs beside its package and does not find here; empty where it finds everything."""


def lacks_gpu() -> str:
    """Return why torch cannot compute on a GPU here; empty where it can."""
    import torch  # here, since most backends need none

    return "" if torch.cuda.is_available() else "torch finds no NVIDIA GPU"


_MODULES = (
    *(Backend(name, "torch", ("f32", "bf16")) for name in ("torch", "torch-channels-last", "torch-compile")),
    *(
        Backend(name, "torch", ("f32", "bf16"), device="cuda", lacks=lacks_gpu)
        for name in ("torch-cuda", "torch-cuda-compile")
    ),
)
_OWN_NAMES = {"torch": "torch-folded"}
"""Backends whose engines have another name: `torch` is the module."""


def backends() -> dict[str, Backend]:
    """Return every backend by name, in the order of tables: torch, Convwright's engines, engines of other packages."""
    every = engines().values()
    files = [_of_engine(engine) for engine in sorted(every, key=lambda engine: engine.name != "torch")]
    return {backend.name: backend for backend in (*_MODULES, *files)}


def _of_engine(engine: Engine) -> Backend:
    name = _OWN_NAMES.get(engine.name, engine.name)
    return Backend(name, engine.package, engine.precisions, engine.reads[0], engine.name, engine.device, engine.lacks)


def backends_named(names: Sequence[str] | None) -> list[Backend]:
    """Return backends by their names.

    Args:
        names: Names; None: every installed backend.

    Raises:
        ArgumentError: There is no such backend, or its package is not installed.
    """
    known = backends()
    if names is None:
        return [backend for backend in known.values() if installed(backend.package) and not backend.lacks()]
    for name in names:
        if name not in known:
            raise ArgumentError("engine", f"must be one of {', '.join(known)}, not {name!r}")
        if not installed(package := known[name].package):
            raise ArgumentError("engine", f"{name} needs {package}: {install_command(package)}")
        if lacking := known[name].lacks():
            raise ArgumentError("engine", f"{name} cannot be used here: {lacking}")
    return [known[name] for name in names]


def check_precision(precision: str) -> None:
    """Check that a precision exists and that this processor has instructions for it.

    Raises:
        ArgumentError: It does not exist, or the processor cannot compute in it.
    """
    if precision not in PRECISIONS:
        raise ArgumentError("precision", f"must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "bf16" and not has_bf16() and lacks_gpu():
        raise ArgumentError("precision", "this processor has no instructions for bf16; use f32 or int8")

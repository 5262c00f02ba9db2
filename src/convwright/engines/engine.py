"""The contract that Convwright's own engines and those of other packages meet. No torch in here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convwright.engines.card import Card
from convwright.engines.runner import Runner
from convwright.errors import UsageError
from convwright.extras import installed

SUFFIXES = frozenset((".onnx", ".xml", ".safetensors", ".tflite", ".pte"))
"""Suffixes of exported files that engines run."""
COREML_SUFFIX = ".mlpackage"
"""Suffix of Core ML packages, which are exported and not run."""
NOT_RUN = "not run in Core ML, which exists on Apple's systems only"
COMPUTE_PRECISIONS = ("f32", "bf16")
"""Precisions in which an engine can compute; a quantized file is in 8 bits whatever the engine is given."""
PRECISIONS = (*COMPUTE_PRECISIONS, "int8")

Open = Callable[[Path, Card, int | None, str], Runner]
"""Loads a file with this card, for a number of threads (None: the engine's choice), to compute in f32 or bf16."""


@dataclass(frozen=True)
class Engine:
    """Software that runs exported files.

    `open` gets the path of a file whose checksum is right, its card, the number of threads (None: the engine's choice)
    and the precision to compute in, `f32` or `bf16`. It returns a function from images, uint8, `N x C x H x W`, to
    logits, float32, `N x classes`, for any N from 1. Both may raise any error: Convwright reports it in one line.
    """

    name: str
    """Name for users, as in `--engine NAME`: lower-case letters, digits and hyphens."""
    package: str
    """Module that must be importable for the engine to work; it is imported before `open` is called."""
    reads: tuple[str, ...]
    """Suffixes of the files that it runs, of `SUFFIXES`; `bench` measures it on a file with the first one."""
    open: Open
    precisions: tuple[str, ...] = ("f32",)
    """Supported precisions, of `PRECISIONS`; `int8` stands for quantized files."""
    lacks: Callable[[], str] = str
    """Returns what the engine needs beside its package and does not find here; empty where it finds everything."""
    by_default: bool = True
    """Whether files run in it where no engine is named, and whether an export needs its agreement. Not for engines of
    special devices, which may fail on the next machine and compute in fewer bits."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the engine computes, which decides on the floor of its latency."""

    def usable(self) -> bool:
        """Return whether the engine's package is installed, and whatever else it needs is here."""
        return installed(self.package) and not self.lacks()


def check_runnable(path: Path) -> None:
    """Check that a path does not name a Core ML package, which no engine runs.

    Raises:
        UsageError: It does.
    """
    if path.suffix == COREML_SUFFIX:
        others = ", ".join(sorted(SUFFIXES))
        raise UsageError(f"{path}: Core ML packages run on Apple's systems only, and not in Convwright; use {others}")

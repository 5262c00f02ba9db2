"""What all engines share: the function that runs a loaded network, and the processor's cores and instructions."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from convwright.machine import available_cores

Runner = Callable[[np.ndarray], np.ndarray]
"""Takes uint8 images, N x C x H x W; returns float32 logits, N x classes."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(available_cores())


def has_bf16() -> bool:
    """Return whether the processor has instructions for bfloat16, if the system reports it."""
    with suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags
    return False

"""What training changes in a process, and puts back when it is over.

Training seeds torch's generators at every step, makes GPUs use deterministic algorithms and may change what the C
library does with freed memory. The caller's process is left as it was.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from convwright.training import allocator

CUBLAS, WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""Environment variable, and the value with which cuBLAS gives the same product each time."""
_DETERMINISTIC: Any = torch.utils.deterministic  # whose attributes have no types
_lock = threading.Lock()
_restorers: list[Callable[[], None]] = []
"""What restores the state, while at least one block runs."""
_blocks = 0
"""Number of blocks that run, in any thread."""


@contextmanager
def preserved_process_state() -> Iterator[None]:
    """Restore the random state, cuDNN's flags, the thread count and the allocator's settings after the block.

    Blocks may be nested, and may overlap in several threads: the state before the first one is restored after the last.
    """
    global _blocks
    with _lock:
        if _blocks == 0:
            _restorers[:] = _saved_state()
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0:
                for restore in _restorers:
                    restore()
                _restorers.clear()


def make_reproducible(device: torch.device, *, tf32: bool) -> None:
    """Make a training step give the same weights each time; on a GPU too. `preserved_process_state` undoes it.

    Operations for which torch knows no deterministic algorithm give a warning.

    Args:
        device: Where the network computes.
        tf32: Whether convolutions of NVIDIA GPUs may read 32-bit numbers as TF32.
    """
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    if device.type == "cuda":
        os.environ.setdefault(CUBLAS, WORKSPACE)
        torch.backends.cudnn.allow_tf32 = tf32
        torch.use_deterministic_algorithms(True, warn_only=True)
        _DETERMINISTIC.fill_uninitialized_memory = False  # which only finds errors, and takes time


def _restorer_of_gpu_settings() -> Callable[[], None]:
    """Return a function that restores the settings that `make_reproducible` changes for a GPU."""
    cudnn, workspace = torch.backends.cudnn, os.environ.get(CUBLAS)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = _DETERMINISTIC.fill_uninitialized_memory
    parts = [part for name in ("conv", "rnn") if (part := getattr(cudnn, name, None)) is not None]
    kept = [part.fp32_precision for part in parts]  # the caller may have set them apart
    tf32 = None if parts else cudnn.allow_tf32

    def restore() -> None:
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        _DETERMINISTIC.fill_uninitialized_memory = fills
        for part, precision in zip(parts, kept, strict=True):
            part.fp32_precision = precision
        if tf32 is not None:
            cudnn.allow_tf32 = tf32  # of torch before 2.9
        if workspace is None:
            os.environ.pop(CUBLAS, None)

    return restore


def _saved_state() -> list[Callable[[], None]]:
    """Return functions that restore the present state."""
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic, cudnn.enabled
    threads, settings, random = torch.get_num_threads(), allocator.settings(), torch.get_rng_state()

    def restore() -> None:
        cudnn.benchmark, cudnn.deterministic, cudnn.enabled = flags
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        allocator.restore(settings)
        torch.set_rng_state(random)

    restorers = [restore]
    if torch.cuda.is_available():
        restorers.append(_restorer_of_gpu_settings())
        on_gpus = torch.cuda.get_rng_state_all()
        restorers.append(lambda: torch.cuda.set_rng_state_all(on_gpus))
    if torch.backends.mps.is_available():
        on_mps = torch.mps.get_rng_state()
        restorers.append(lambda: torch.mps.set_rng_state(on_mps))
    return restorers

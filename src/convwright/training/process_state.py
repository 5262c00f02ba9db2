"""What training changes in a process, and puts back when it is over.

Training seeds torch's generators at every step, makes cuDNN use deterministic algorithms and may change what the C
library does with freed memory. The caller's process is left as it was.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from convwright.training import allocator

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
        on_gpus = torch.cuda.get_rng_state_all()
        restorers.append(lambda: torch.cuda.set_rng_state_all(on_gpus))
    if torch.backends.mps.is_available():
        on_mps = torch.mps.get_rng_state()
        restorers.append(lambda: torch.mps.set_rng_state(on_mps))
    return restorers

"""What training changes in a process, and puts back when it is over.

Training seeds torch's generator at every step, makes cuDNN use deterministic algorithms and may change what the C
library does with freed memory. The caller's process is left as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from convwright.training import allocator


@contextmanager
def preserved_process_state() -> Iterator[None]:
    """Restore the random state, cuDNN's flags, the thread count and the allocator's settings after the block."""
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic, cudnn.enabled
    threads = torch.get_num_threads()
    settings = allocator.settings()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.deterministic, cudnn.enabled = flags
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            allocator.restore(settings)

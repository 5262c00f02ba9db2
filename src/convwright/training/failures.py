"""Failures that torch reports unclearly: memory that does not suffice, and processes that have ended."""

import gc
import sys
import traceback

import torch

from convwright.arch import Network
from convwright.arch.resolution import format_resolution
from convwright.data import Dataset
from convwright.display.wording import counted
from convwright.errors import OutOfMemoryError
from convwright.machine import c_function
from convwright.training.compiling import compile_failure
from convwright.training.config import TrainConfig
from convwright.training.memory_fit import estimated_batch, fitting_batch

_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
OTHER_ENDED = "another process of the run has ended"
"""What a process reports whose connection to another one was closed."""
_GONE = (
    *("connection closed by", "connection reset", "connection refused", "timed out", "broken pipe"),
    *("no route to host", "remote process exited", "network error"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory did not suffice."""
    if isinstance(error, OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _MEMORY)  # torch's own has no other class


def explain_failure(error: BaseException, config: TrainConfig, network: Network, data: Dataset, processes: int) -> str:
    """Return in one line what a failure means and what to do.

    Args:
        error: What was raised.
        config: Configuration of the run.
        network: Its network.
        data: Its images.
        processes: Number of processes that share the run.

    Returns:
        The line; empty for a failure that needs no explanation.
    """
    if config.compile and (reason := compile_failure(error)):
        return reason
    if not isinstance(error, RuntimeError | MemoryError):  # torch's own have no common class
        return ""
    text = str(error).lower()
    if is_out_of_memory(error):
        _free_memory(error)
        return _out_of_memory(config, network, data)
    if processes > 1 and any(sign in text for sign in _GONE):
        return f"{OTHER_ENDED}; resume from the last checkpoint with `cw.resume`"
    return ""


def _free_memory(error: BaseException) -> None:
    """Give back what the failed step holds, so that the memory of a smaller one can be measured."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform.startswith("linux") and (malloc_trim := c_function("malloc_trim")) is not None:
        malloc_trim(0)


def _out_of_memory(config: TrainConfig, network: Network, data: Dataset) -> str:
    """Return the batch size that fits, or one to try where the free memory does not allow to measure it."""
    wanted = config.batch_size // config.recipe.accumulate
    problem = (
        f"a step with {counted(wanted, 'image')} of {format_resolution(config.resolution)} px does not fit into memory"
    )
    try:
        fits = min(fitting_batch(config, network, data), max(1, wanted // 2))
        advice = f"{counted(fits, 'image fits', 'images fit')}: train again with"
    except (RuntimeError, MemoryError, OutOfMemoryError):  # what the process still holds leaves no room to measure
        if torch.cuda.is_available():
            fits, advice = max(1, wanted // 16), "try"
        else:
            fits = min(estimated_batch(network), max(1, wanted // 2))
            advice = f"{counted(fits, 'image')} should fit: train again with"
    if wanted == 1:
        return f"{problem}; give a smaller `resolution` or `network`"
    pieces = -(-config.batch_size // fits)
    return f"{problem}; {advice} `accumulate={pieces}`, or `batch_size={fits}`"

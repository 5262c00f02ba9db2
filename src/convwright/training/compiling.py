"""Networks compiled by torch for training, and what that needs."""

import os
import shutil
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import nn

from convwright.errors import ArgumentError, UsageError

COMPILERS = ("g++", "clang++", "c++")
"""Names of C++ compilers that torch looks for."""
LEAST_CAPABILITY = 7
"""First compute capability of NVIDIA's GPUs that Triton compiles for."""
ERRORS = ("torch._dynamo", "torch._inductor", "triton")
"""Packages whose errors mean that a network could not be compiled."""


def compiled(module: nn.Module, *, cuda_graphs: bool) -> nn.Module:
    """Return a module that is compiled at its first call; it shares the weights.

    It is compiled for each size of batches anew, not for all sizes at once: otherwise the operations, and so the
    rounding, would depend on the sizes that the process has seen before.

    Args:
        module: The module.
        cuda_graphs: Whether its operations are recorded in CUDA graphs.
    """
    mode = "reduce-overhead" if cuda_graphs else None
    made: Any = torch.compile(module, dynamic=False, mode=mode)
    return cast(nn.Module, made)


def mark_step() -> None:
    """Let CUDA graphs use the memory of the last step's results again."""
    torch.compiler.cudagraph_mark_step_begin()


def check_compiler(*, cuda_graphs: bool) -> None:
    """Check that torch can compile for this machine, as far as that is known without trying.

    Args:
        cuda_graphs: Whether there are to be CUDA graphs.

    Raises:
        UsageError: It cannot.
    """
    gpu = torch.cuda.is_available()
    if cuda_graphs and not gpu:
        raise ArgumentError("cuda_graphs", "needs an NVIDIA GPU, and torch finds none")
    if not gpu and not (os.environ.get("CXX") or any(map(shutil.which, COMPILERS))):
        raise UsageError("`compile` needs a C++ compiler such as g++ on a CPU, and there is none; omit it")
    if gpu and find_spec("triton") is None:
        raise UsageError("`compile` needs the package triton on a GPU, which comes with torch for Linux; omit it")
    if gpu and torch.cuda.get_device_capability()[0] < LEAST_CAPABILITY:
        least = f"a GPU of compute capability {LEAST_CAPABILITY}.0 or higher"
        raise UsageError(f"`compile` needs {least}, and {torch.cuda.get_device_name()} has less; omit it")


def compile_failure(error: BaseException) -> str:
    """Return in one line why torch could not compile a network; empty for other errors."""
    if not type(error).__module__.startswith(ERRORS):
        return ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"torch.compile failed: {lines[0] if lines else type(error).__name__:.200}; train without `compile`"

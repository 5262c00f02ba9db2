"""The operators that a run trains with: torch's, or those of `convwright.modules.fused`."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from convwright.errors import UsageError, together
from convwright.machine import available_cores
from convwright.modules.fused.depthwise import DepthwiseConv2d
from convwright.modules.fused.library import is_compiled, library, unavailable_reason
from convwright.modules.fused.pointwise import PointwiseConv2d
from convwright.modules.fused.winograd import WinogradConv2d
from convwright.training.combinations import execution_problems
from convwright.training.compiling import check_compiler
from convwright.training.config import TrainConfig

OWN = (WinogradConv2d, PointwiseConv2d, DepthwiseConv2d)
"""Convolutions with operators for maps of 32 bits, and some of them for maps of bfloat16."""


def compile_fused(precision: str) -> bool:
    """Compile the fused operators of a precision, once for the machine.

    Args:
        precision: `32-true` or `bf16-mixed`.

    Returns:
        Whether they are available: there is a compiler, or they have been compiled before.
    """
    with ThreadPoolExecutor(len(available_cores())) as pool:  # each thread waits for a compiler
        return all(found is not None for found in pool.map(library, *zip(*sources(precision), strict=True)))


def fused_is_compiled(precision: str) -> bool:
    """Return whether the fused operators of a precision are available at once, without being compiled now.

    Args:
        precision: `32-true` or `bf16-mixed`.
    """
    return all(is_compiled(dtype, name) for dtype, name in sources(precision)) and compile_fused(precision)


def sources(precision: str) -> list[tuple[torch.dtype, str]]:
    """Return the types and names of the C++ sources that a precision needs."""
    if precision == "bf16-mixed":
        own = ["kernels", *(kind.source for kind in OWN if kind.reads_bfloat16)]
        return [(torch.float32, "kernels"), *((torch.bfloat16, name) for name in own)]
    return [(torch.float32, name) for name in ("kernels", *(kind.source for kind in OWN))]


def fused_by_default(options: dict[str, Any]) -> bool:
    """Return whether a configuration made without a request uses fused operators, where that is left open.

    With memory-efficient operators it does: torch's own, computed again, take longer. Elsewhere `choose_operators`
    measures for a request which ones are faster.

    Args:
        options: Fields of the configuration.
    """
    if not options.get("memory_efficient") or torch.cuda.is_available() or options.get("devices", 1) != 1:
        return False
    if options.get("precision") == "16-mixed" or options.get("compile"):
        return False
    return compile_fused(options.get("precision", "32-true"))


def check_operators(config: TrainConfig, *, here: bool = True) -> None:
    """Check that the operators of a run can be combined, and are available.

    Args:
        config: Configuration of the run.
        here: Whether this machine trains; if not, what it has does not matter.

    Raises:
        UsageError: They are for one device, or need a compiler or a GPU that this machine lacks.
    """
    if problems := list(execution_problems(config, config.recipe)):
        raise together([*problems])
    if config.compile and here:
        check_compiler(cuda_graphs=config.cuda_graphs)
    if config.memory_efficient and config.devices > 1:
        raise UsageError("memory-efficient operators are for one device; with `devices`, omit `memory_efficient`")
    if not config.fused:
        return
    if config.devices > 1:
        raise UsageError("fused operators are for one device; with `devices`, use `fused=False`")
    if torch.cuda.is_available() or not here:
        return  # with a GPU they are torch's own
    if not compile_fused(config.precision):
        raise UsageError(
            "the run uses fused operators (fused: true), which need a C++ compiler such as g++ here "
            f"({unavailable_reason()}); a new run can use torch's operators: `fused=False`"
        )

"""Which operators a run trains with: torch's, or those of `convwright.modules.fused`."""

from typing import Any

import torch

from convwright.errors import UsageError
from convwright.modules.fused.depthwise import DepthwiseConv2d
from convwright.modules.fused.library import library, why_not
from convwright.modules.fused.pointwise import PointwiseConv2d
from convwright.modules.fused.winograd import WinogradConv2d
from convwright.training.config import TrainConfig

OWN = tuple(kind.source for kind in (WinogradConv2d, PointwiseConv2d, DepthwiseConv2d))
"""Sources of convolutions for maps of 32 bits."""


def compile_fused(precision: str) -> bool:
    """Compile what fused operators in a precision are made of, once for the machine; False if that cannot be done."""
    needed = [(torch.float32, "kernels")]
    needed += [(torch.bfloat16, "kernels")] if precision == "bf16-mixed" else [(torch.float32, name) for name in OWN]
    return all(library(dtype, name) is not None for dtype, name in needed)


def fused_by_default(options: dict[str, Any]) -> bool:
    """Are fused operators the better choice for a run with these fields of its configuration?

    Where memory is to be saved they are: torch's own, computed again, take longer. Elsewhere that depends on the
    network, and they have to be compiled first.
    """
    if not options.get("memory_efficient") or torch.cuda.is_available() or options.get("devices", 1) != 1:
        return False
    return compile_fused(options.get("precision", "32-true"))


def check_operators(config: TrainConfig) -> None:
    """UsageError if a run asks for operators that cannot be had here."""
    if config.memory_efficient and config.devices > 1:
        raise UsageError("memory-efficient operators are for one device; with --devices, leave --memory-efficient out")
    if not config.fused:
        return
    if config.devices > 1:
        raise UsageError("fused operators are for one device; with --devices, say --no-fused")
    if torch.cuda.is_available():
        return  # where they are torch's own
    if not compile_fused(config.precision):
        raise UsageError(
            "the run uses fused operators (fused: true), which need a C++ compiler such as g++ here "
            f"({why_not()}); a new run can do without: --no-fused"
        )

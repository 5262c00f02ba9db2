"""Whether bfloat16 trains a network faster than 32 bits on this machine, measured once: `precision="auto"`."""

import math
import time
from dataclasses import dataclass

import torch

from convwright.arch import Network
from convwright.engines.runner import has_bf16
from convwright.training.config import PrecisionName
from convwright.training.operator_choice import (
    REMEASURE_AFTER,
    Execution,
    choose_operators,
    key_of,
    measured_ratio,
    remember,
    remembered,
)

FULL: PrecisionName = "32-true"
HALF: PrecisionName = "bf16-mixed"
MIN_SPEEDUP = 1.05
"""Smallest speed-up for which bfloat16 is chosen: below it, fewer bits have no use."""


@dataclass(frozen=True)
class PrecisionChoice:
    """The number format of a run, and why."""

    precision: PrecisionName
    reason: str
    """In one line."""


def choose_precision(network: Network, batch: int, fused: bool | None) -> PrecisionChoice:
    """Return the format, 32 bits or bfloat16, in which this machine trains a network faster.

    A GPU gets bfloat16 if it computes in it. On a processor with instructions for bfloat16, steps in both formats are
    measured, each with the operators that are faster in it, and the result is kept in the user's cache like that of
    `choose_operators`.

    Args:
        network: The network to train, with the resolution of the images.
        batch: Images in a step.
        fused: Whether fused operators are used; None: where they are faster.
    """
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice(HALF, "precision bf16-mixed, since this GPU computes in bfloat16")
        return PrecisionChoice(FULL, "precision 32-true, since this GPU does not compute in bfloat16")
    if not has_bf16():
        return PrecisionChoice(FULL, "precision 32-true, since this processor has no instructions for bfloat16")
    ratio, busy = _speedup(network, batch, fused)
    compared = f"takes {1 / ratio:.2f} times as long" if ratio < 1 else f"is about {ratio:.2f} times as fast"
    measured = f"a step in bfloat16 {compared} as in 32 bits on this machine{busy}"
    if ratio < MIN_SPEEDUP:
        return PrecisionChoice(FULL, f"precision 32-true: {measured}")
    return PrecisionChoice(HALF, f"precision bf16-mixed: {measured}; `precision='32-true'` keeps 32 bits")


def speedup_key(network: Network, batch: int, fused: bool | None) -> str:
    """Return the key of a remembered measurement."""
    operators = {None: "the faster operators", True: "fused operators", False: "operators of torch"}[fused]
    return f"bfloat16, {operators}, {key_of(network, batch, FULL)}, {key_of(network, batch, HALF)}"


def _speedup(network: Network, batch: int, fused: bool | None) -> tuple[float, str]:
    """Return how many times as fast a step in bfloat16 is, and a remark where the machine was busy."""
    key = speedup_key(network, batch, fused)
    ratio = remembered(key)
    if ratio is not None:
        return ratio, ""
    full, half = (
        Execution(choose_operators(network, batch, each).fused if fused is None else fused, each)
        for each in (FULL, HALF)
    )
    ratio, reliable = measured_ratio(network, batch, full, half)
    remember(key, ratio, math.inf if reliable else time.time() + REMEASURE_AFTER)
    return ratio, "" if reliable else ", which was busy"

"""Whether fused operators train a network at least as fast as torch's on this machine, measured once."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from convwright import json_text
from convwright.arch import Network
from convwright.arch.resolution import sides
from convwright.errors import ConvwrightError
from convwright.files import cache_folder, digest_of, write_text
from convwright.modules import build
from convwright.modules.fused.library import identity, unavailable_reason
from convwright.timing import AGREEMENT, CLOCK
from convwright.training.operators import compile_fused, sources

SECONDS = 0.06
"""Seconds of a step from which on the batch that is measured does not grow any more."""
ROUNDS = 3
"""Steps with each operators, of which the fastest counts."""
MAX_MEASURING_SECONDS = 0.5
"""Seconds after which no further steps are taken."""
REMEASURE_AFTER = 3600.0
"""Seconds after which a measurement on a busy machine is repeated."""
SMALLEST = 2
"""Images of the smallest batch: normalisation needs more than one value."""
MIN_RATIO_SMALL_BATCH = 0.9
"""Smallest ratio at which fused operators are chosen if only the smallest batch was measured: their cost for each
layer does not grow with the number of images, and matters less in a larger batch."""


@dataclass(frozen=True)
class OperatorChoice:
    """The operators of a run, and why."""

    fused: bool
    reason: str = ""
    """In one line; empty where it has been reported before."""


def choose_operators(network: Network, batch: int, precision: str) -> OperatorChoice:
    """Return the operators that train a network at least as fast as the others on this machine.

    It is measured within about a second, and kept in the user's cache for this network, machine, torch, compiler and
    number of threads; for an hour only if the machine was busy.

    Args:
        network: The network to train, with the resolution of the images.
        batch: Images in a step.
        precision: `32-true` or `bf16-mixed`.
    """
    if not compile_fused(precision):
        return OperatorChoice(False, _unavailable())
    key = key_of(network, batch, precision)
    ratio, busy = remembered(key), ""
    if ratio is None:
        ratio, reliable = measured_speedup(network, batch, precision)
        remember(key, ratio, math.inf if reliable else time.time() + REMEASURE_AFTER)
        busy = "" if reliable else ", which was busy"
    if ratio < 1:
        reason = (
            f"since fused operators take {1 / ratio:.2f} times as long on this machine{busy}; `fused=True` chooses them"
        )
        return OperatorChoice(False, f"torch's operators, {reason}")
    reason = f"about {ratio:.2f} times as fast as torch's on this machine{busy}; `fused=False` chooses torch's"
    return OperatorChoice(True, f"fused operators, {reason}")


def key_of(network: Network, batch: int, precision: str) -> str:
    """Return what a measurement holds for: network, batch, precision, torch, threads, compiler and processor."""
    described = network.to_json() | {"name": "", "papers": [], "results": []}
    made_of = [identity(dtype, name) for dtype, name in sources(precision)]
    machine = [precision, torch.__version__, f"{torch.get_num_threads()} threads", *made_of]
    return " ".join([digest_of(json_text.dump(described, ascii_only=True).encode()), f"batch {batch}", *machine])


class Measured(NamedTuple):
    """A measurement of both operators."""

    ratio: float
    """The time of a training step with torch's operators over that with fused ones."""
    reliable: bool
    """Whether threads did not have to wait for a core."""


@dataclass(frozen=True)
class Execution:
    """How a training step is computed."""

    fused: bool
    precision: str
    """`32-true` or `bf16-mixed`."""


def measured_speedup(network: Network, batch: int, precision: str, *, seconds: float = SECONDS) -> Measured:
    """Measure a training step with torch's operators and with fused ones; see `measured_ratio`."""
    return measured_ratio(network, batch, Execution(False, precision), Execution(True, precision), seconds=seconds)


def measured_ratio(
    network: Network, batch: int, before: Execution, after: Execution, *, seconds: float = SECONDS
) -> Measured:
    """Measure how many times as fast one execution of a training step is as another.

    Steps with one and the other are taken in turn, and the fastest of each are compared: other work on the machine only
    adds time. Where a step of the whole batch takes longer than `seconds`, its time is extrapolated from two smaller
    batches.

    Args:
        network: The network, with the resolution of the images.
        batch: Images in a step.
        before: The execution that is compared with.
        after: The execution whose speed-up is measured.
        seconds: Seconds of a step from which on the measured batch does not grow any more.
    """
    usual, other = (
        _Subject(
            build(network, seed=0, fused=each.fused).to(memory_format=torch.channels_last).train(),
            network,
            each.precision,
        )
        for each in (before, after)
    )
    with torch.random.fork_rng(devices=[]):  # stochastic depth and dropout draw from the global generator
        largest = _affordable(usual.step, batch, seconds)
        sizes = [largest] if largest in (batch, SMALLEST) else [largest, largest // 2]
        times = {(subject, size): math.inf for size in sizes for subject in (other, usual)}
        began, waited = CLOCK.wall(), CLOCK.waited()
        for counts in (False, *[True] * ROUNDS):
            for subject, size in times:
                taken = subject.step(size)
                times[subject, size] = min(times[subject, size], taken) if counts else math.inf
            if counts and CLOCK.wall() - began > MAX_MEASURING_SECONDS:
                break
        reliable = CLOCK.waited() - waited <= (AGREEMENT - 1) * (CLOCK.wall() - began)
    slow, fast = (_extrapolated([(size, times[each, size]) for size in sizes], batch) for each in (usual, other))
    ratio = slow / fast
    return Measured(
        max(ratio, 1.0) if largest == SMALLEST < batch and ratio >= MIN_RATIO_SMALL_BATCH else ratio, reliable
    )


def _affordable(step: Callable[[int], float], batch: int, seconds: float) -> int:
    """Return the first batch of 2, 4, 8, ... images whose step takes some seconds of each thread, or the whole one."""
    size = min(SMALLEST, batch)
    step(size)
    while size < batch:
        began = time.process_time()
        step(size)
        if (time.process_time() - began) / torch.get_num_threads() >= seconds:
            break
        size = min(2 * size, batch)
    return size


def _extrapolated(times: Sequence[tuple[int, float]], batch: int) -> float:
    """Return the time of a batch from those of one batch, or of a larger and a smaller one, as a linear function."""
    (large, longer), (small, shorter) = times[0], times[-1]
    if large == small:
        return longer
    return longer + max(0.0, longer - shorter) / (large - small) * (batch - large)


@dataclass(frozen=True, eq=False)
class _Subject:
    """A network whose steps are measured."""

    module: nn.Module
    network: Network
    precision: str

    def step(self, batch: int) -> float:
        """Return the seconds of one forward and backward pass."""
        images = torch.rand(batch, self.network.channels, *sides(self.network.resolution))
        images = images.contiguous(memory_format=torch.channels_last)
        began = time.perf_counter()
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            loss = self.module(images).float().square().sum()
        loss.backward()
        self.module.zero_grad(set_to_none=True)
        return time.perf_counter() - began


def _unavailable() -> str:
    """Return why there are no fused operators, the first time on this machine; then an empty text."""
    reason = unavailable_reason()
    if remembered(key := f"reported: {reason}") is not None:
        return ""
    remember(key, 1.0)
    return (
        f"torch's operators, since there is no working C++ compiler such as g++ ({reason}), with which "
        "training on CPUs is faster; this is reported once"
    )


def _file_of(key: str) -> Path:
    return cache_folder() / "operators" / f"{digest_of(key.encode())}.json"


def remembered(key: str) -> float | None:
    """Return what was measured before; None where nothing was, or the file is damaged."""
    with suppress(ConvwrightError):
        found = json_text.read(_file_of(key))
        if isinstance(found, dict) and found.get("key") == key and isinstance(found.get("speedup"), float):
            until = found.get("until", math.inf)
            return float(found["speedup"]) if isinstance(until, float) and time.time() < until else None
    return None


def remember(key: str, speedup: float, until: float = math.inf) -> None:
    """Keep what was measured until a time; where that fails, it is measured again next time."""
    with suppress(OSError, ConvwrightError):
        file = _file_of(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(
            file,
            json_text.dump({"key": key, "speedup": speedup} | ({"until": until} if math.isfinite(until) else {}))
            + "\n",
        )

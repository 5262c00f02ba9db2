"""What a network takes at least on this machine: its multiply-adds at the speed of a matrix product, its bytes at the
speed of memory."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from convwright.deploy.program import Activate, Join, Op, Program, bytes_of, macs_of

MATRIX = 1024
COPIED = 2**24
REPEATS = 12


@dataclass(frozen=True)
class Machine:
    """Measured peaks of this machine with so many threads."""

    threads: int
    macs_per_second: float
    """Of a product of matrices of 1024 x 1024 in f32."""
    bytes_per_second: float
    """Read and written in copying 64 MiB."""


@dataclass(frozen=True)
class Floor:
    """The least that one operation takes for a batch, in seconds, by each of the two."""

    path: str
    kind: str
    macs: int
    bytes: int
    compute: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.compute, self.memory)

    @property
    def bound(self) -> str:
        """Which of the two it is."""
        return "compute" if self.compute >= self.memory else "memory"


def measure_machine(threads: int) -> Machine:
    """Measure the machine; the best of several tries, since a peak is asked for."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        left, right = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
        product = torch.empty(MATRIX, MATRIX)
        source, target = torch.zeros(COPIED), torch.zeros(COPIED)
        multiply = _best(lambda: torch.mm(left, right, out=product))
        copy = _best(lambda: target.copy_(source))
    finally:
        torch.set_num_threads(before)
    return Machine(threads, MATRIX**3 / multiply, 8 * COPIED / copy)


def floors(program: Program, machine: Machine, batch: int = 1) -> list[Floor]:
    """Return the floor of every operation.

    Activations are taken as part of the operation before them, and joins as places in one buffer; every other map is
    read and written through memory once.
    """
    return [_floor(op, program, machine, batch) for op in program.ops if not isinstance(op, Activate | Join)]


def _floor(op: Op, program: Program, machine: Machine, batch: int) -> Floor:
    weights, maps = bytes_of(op, program.shapes)
    macs, moved = batch * macs_of(op, program.shapes), weights + batch * maps
    return Floor(
        op.path,
        type(op).__name__.lower(),
        macs,
        moved,
        macs / machine.macs_per_second,
        moved / machine.bytes_per_second,
    )


def _best(work: object) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()  # type: ignore[operator]
        times.append(time.perf_counter() - started)
    return float(np.min(times))

"""What a network takes at least on this machine: its multiply-adds at the speed of a matrix product, its bytes at the
speed of memory."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from convwright.engines.program import Activate, Join, Op, Program, bytes_of, macs_of
from convwright.engines.runner import has_bf16
from convwright.timing import call_seconds

MATRIX = 1024
COPIED = 2**24
REPEATS = 12
BYTES = {"f32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Machine:
    """Measured peaks of this machine with so many threads."""

    threads: int
    macs_per_second: float
    """Of a product of matrices of 1024 x 1024 in f32."""
    bytes_per_second: float
    """Read and written in copying 64 MiB."""
    reduced: dict[str, float] = field(default_factory=dict)
    """Multiply-adds a second of the same product in other precisions (bf16, int8), as far as torch has it."""

    def macs_in(self, precision: str) -> float | None:
        """Return the multiply-adds a second in a precision; None where it could not be measured."""
        return self.macs_per_second if precision == "f32" else self.reduced.get(precision)


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
        reduced = _reduced()
    finally:
        torch.set_num_threads(before)
    return Machine(threads, MATRIX**3 / multiply, 8 * COPIED / copy, reduced)


def _reduced() -> dict[str, float]:
    found = {}
    if has_bf16():
        half = torch.rand(MATRIX, MATRIX).bfloat16()
        found["bf16"] = MATRIX**3 / _best(lambda: torch.mm(half, half))
    with suppress(RuntimeError, NotImplementedError, AttributeError):  # not every build of torch multiplies int8
        small = torch.randint(-128, 128, (MATRIX, MATRIX), dtype=torch.int8)
        found["int8"] = MATRIX**3 / _best(lambda: torch._int_mm(small, small))
    return found


def floors(program: Program, machine: Machine, batch: int = 1, precision: str = "f32") -> list[Floor]:
    """Return the floor of every operation; none for a precision whose speed is not known.

    Activations are taken as part of the operation before them, and joins as places in one buffer; every other map is
    read and written through memory once.
    """
    speed, element = machine.macs_in(precision), BYTES[precision]
    if speed is None:
        return []
    ops = [op for op in program.ops if not isinstance(op, Activate | Join)]
    return [_floor(op, program, batch, element, speed, machine.bytes_per_second) for op in ops]


def _floor(op: Op, program: Program, batch: int, element: int, macs_speed: float, bytes_speed: float) -> Floor:
    weights, maps = bytes_of(op, program.shapes, element)
    macs, moved = batch * macs_of(op, program.shapes), weights + batch * maps
    return Floor(
        op.path,
        type(op).__name__.lower(),
        macs,
        moved,
        macs / macs_speed,
        moved / bytes_speed,
    )


def _best(work: Callable[[], object]) -> float:
    return min(call_seconds(work, at_least=REPEATS, warm_up=1))

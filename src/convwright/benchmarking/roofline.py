"""The roofline of this machine: lower bounds of a network's latency.

Multiply-adds take at least the time of a matrix product, and bytes the time of copying memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from convwright.benchmarking.job import GPU
from convwright.engines.program import Activate, Join, Op, Program, bytes_of, macs_of
from convwright.engines.runner import has_bf16
from convwright.exporting.onnx_writer import IR_VERSION, OPSET
from convwright.extras import installed
from convwright.timing import call_seconds

MATRIX = 1024
COPIED = 2**24
REPEATS = 12
GPU_MATRIX, GPU_COPIED, QUEUED = 4096, 2**26, 8
"""The same for a GPU, and the calls that it gets before the processor waits for it."""
BYTES = {"f32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Machine:
    """Measured peaks of this machine."""

    threads: int
    """Threads of the processor; `GPU` for one."""
    macs_per_second: float
    """Multiply-adds a second in a product of matrices of 1024 x 1024 in f32; on a GPU 4096 x 4096 in TF32."""
    bytes_per_second: float
    """Bytes read and written a second in copying 64 MiB; on a GPU 256 MiB."""
    reduced: dict[str, float] = field(default_factory=dict)
    """Multiply-adds a second of the same product in other precisions (bf16, int8), where it could be measured."""
    gpu: str = ""
    """Name of the GPU; empty for the processor."""

    def to_dict(self) -> dict[str, object]:
        """Return all fields as values that JSON can hold."""
        return dict(vars(self))

    def macs_in(self, precision: str) -> float | None:
        """Return the multiply-adds a second in a precision; None where it could not be measured."""
        return self.macs_per_second if precision == "f32" else self.reduced.get(precision)


@dataclass(frozen=True)
class Floor:
    """The lowest time of one operation for a batch, in seconds, by computation and by memory."""

    path: str
    kind: str
    macs: int
    bytes: int
    compute: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two times."""
        return max(self.compute, self.memory)

    @property
    def bound(self) -> str:
        """Which of the two times is the larger: `compute` or `memory`."""
        return "compute" if self.compute >= self.memory else "memory"

    def to_dict(self) -> dict[str, object]:
        """Return all fields as values that JSON can hold."""
        return vars(self) | {"bound": self.bound}


def measure_machine(threads: int) -> Machine:
    """Measure the peaks of this machine: the best of several tries.

    Args:
        threads: Number of threads.
    """
    before, generator = torch.get_num_threads(), torch.Generator().manual_seed(0)
    try:
        torch.set_num_threads(threads)
        left, right = (torch.rand(MATRIX, MATRIX, generator=generator) for _ in range(2))
        product = torch.empty(MATRIX, MATRIX)
        source, target = torch.zeros(COPIED), torch.zeros(COPIED)
        multiply = _best(lambda: torch.mm(left, right, out=product))
        copy = _best(lambda: target.copy_(source))
        reduced = _reduced(threads)
    finally:
        torch.set_num_threads(before)
    return Machine(threads, MATRIX**3 / multiply, 8 * COPIED / copy, reduced)


def measure_gpu(device: torch.device | str = "cuda") -> Machine:
    """Measure the peaks of a GPU: the best of several tries.

    The product in 32 bits is that in TF32, the fastest one, so that floors are lower bounds.

    Args:
        device: The GPU.
    """
    device = torch.device(device)
    matmul = torch.backends.cuda.matmul
    allowed = matmul.allow_tf32
    try:
        matmul.allow_tf32 = True
        generator = torch.Generator().manual_seed(0)
        square = torch.rand(GPU_MATRIX, GPU_MATRIX, generator=generator).to(device)
        half, source = square.bfloat16(), torch.zeros(GPU_COPIED, device=device)
        target = torch.zeros_like(source)
        full, reduced, copy = (
            _best(_queued(work, device)) / QUEUED
            for work in (
                lambda: torch.mm(square, square),
                lambda: torch.mm(half, half),
                lambda: target.copy_(source),
            )
        )
    finally:
        matmul.allow_tf32 = allowed
    macs = GPU_MATRIX**3
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return Machine(GPU, macs / full, 8 * GPU_COPIED / copy, {"bf16": macs / reduced}, name)


def _queued(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return a function that starts some work several times and waits for the GPU to finish."""

    def run() -> None:
        for _ in range(QUEUED):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _reduced(threads: int) -> dict[str, float]:
    found = {}
    if has_bf16():
        half = torch.rand(MATRIX, MATRIX, generator=torch.Generator().manual_seed(0)).bfloat16()
        found["bf16"] = MATRIX**3 / _best(lambda: torch.mm(half, half))
    if installed("onnx") and installed("onnxruntime"):
        found["int8"] = MATRIX**3 / _best(_product_int8(threads))
    return found


def _product_int8(threads: int) -> Callable[[], object]:
    """Return a product of matrices of 8-bit numbers in ONNX Runtime; torch has none that is public."""
    import onnx
    import onnxruntime

    numbers = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(numbers.integers(-128, 128, (MATRIX, MATRIX), dtype=np.int8), "weights")
    values, product = (
        onnx.helper.make_tensor_value_info(name, kind, [MATRIX, MATRIX])
        for name, kind in (("values", onnx.TensorProto.UINT8), ("product", onnx.TensorProto.INT32))
    )
    node = onnx.helper.make_node("MatMulInteger", ["values", "weights"], ["product"])
    graph = onnx.helper.make_graph([node], "product", [values], [product], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {"values": numbers.integers(0, 256, (MATRIX, MATRIX), dtype=np.uint8)}
    return lambda: session.run(None, given)


def floors(program: Program, machine: Machine, batch: int = 1, precision: str = "f32") -> list[Floor]:
    """Return the floor of every operation.

    Activations count as part of the operation before them, and concatenations as places in one buffer; every other
    feature map is read and written through memory once.

    Args:
        program: The network's operations.
        machine: Peaks of the machine.
        batch: Images at once.
        precision: `f32`, `bf16` or `int8`.

    Returns:
        A floor for each operation; none for a precision whose speed is not known.
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

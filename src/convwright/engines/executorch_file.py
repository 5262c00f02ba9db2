"""ExecuTorch: files with the suffix .pte, from one uint8 image, `1 x C x H x W`, to logits."""

import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from convwright.arch.resolution import sides
from convwright.engines.card import Card
from convwright.engines.runner import Runner, cores
from convwright.errors import UsageError
from convwright.machine import silenced_native_errors

PACKAGE = "executorch"
METHOD = "forward"
_UINT8, _FLOAT = 0, 6
"""ExecuTorch's numbers of types."""


def open_executorch(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    """Load a .pte file; see `convwright.engines.engine.Engine`. It runs images one at a time."""
    if precision != "f32":
        raise UsageError(f"executorch computes in f32 on a CPU, not in {precision}")
    if threads not in (None, cores()):
        raise UsageError(f"executorch chooses the number of threads itself and cannot run with {threads}")
    return executorch_runner(path, (len(card.classes), card.channels, *sides(card.resolution)))


def executorch_runner(path: Path, expected: tuple[int, int, int, int] | None = None) -> Runner:
    """Return a function that runs a file.

    Args:
        path: The file.
        expected: Number of classes, and channels, height and width of images that the file must have; None: any.

    Raises:
        ValueError: The file is damaged or does not have them.
    """
    import torch

    # ExecuTorch reports which processor it finds, and that its interface may change.
    with silenced_native_errors(), warnings.catch_warnings(action="ignore"):
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(path.read_bytes())
        if METHOD not in program.method_names:
            raise ValueError(f"it has no method {METHOD!r}")
        if expected is not None:
            _check_ports(program.metadata(METHOD), expected)
        method = program.load_method(METHOD)
    assert method is not None

    lock = threading.Lock()

    def run(images: np.ndarray, program: Any = program) -> np.ndarray:  # its memory must live as long as this function
        tensors = torch.from_numpy(np.ascontiguousarray(images)).split(1)
        with lock:  # the next image overwrites the result of this one
            rows = [np.array(method.execute([one])[0].numpy()) for one in tensors]
        return np.concatenate(rows)

    return run


def _check_ports(metadata: Any, expected: tuple[int, int, int, int]) -> None:
    classes, channels, height, width = expected
    inputs = [metadata.input_tensor_meta(index) for index in range(metadata.num_inputs())]
    outputs = [metadata.output_tensor_meta(index) for index in range(metadata.num_outputs())]
    found = [(port.dtype(), list(port.sizes())) for port in (*inputs, *outputs)]
    if found != [(_UINT8, [1, channels, height, width]), (_FLOAT, [1, classes])]:
        raise ValueError(f"its input and output, {found}, do not fit its card")

"""A program as an ExecuTorch file: a torch module that `torch.export` traces, lowered to XNNPACK."""

from typing import Any

import numpy as np
import torch

from convwright.engines import program as steps
from convwright.engines.executorch_file import PACKAGE
from convwright.engines.torch_program import compute_of
from convwright.exporting.quiet import quiet
from convwright.extras import require_package

PURPOSE = "the format executorch"


class TraceableProgram(torch.nn.Module):
    """A program with its arrays as parameters, from one uint8 image, `1 x C x H x W`, to logits.

    Args:
        program: The program.
    """

    def __init__(self, program: steps.Program) -> None:
        super().__init__()
        self.program = program
        self.steps = torch.nn.ModuleList([TraceableStep(op) for op in program.ops])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run every operation."""
        maps = {0: images.float()}
        for op, step in zip(self.program.ops, self.steps, strict=True):
            maps[op.output] = step(*(maps[value] for value in op.inputs))
        return maps[self.program.output].flatten(1)

    def example(self) -> tuple[torch.Tensor]:
        """Return an input to trace with."""
        return (torch.zeros(1, *self.program.input_shape, dtype=torch.uint8),)


class TraceableStep(torch.nn.Module):
    """One operation; a part of its own, whose name the traced operations keep.

    Args:
        op: The operation.
    """

    owned = frozenset[steps.Value]()

    def __init__(self, op: steps.Op) -> None:
        super().__init__()
        self.op, self.arrays, self.used = op, torch.nn.ParameterList(), 0
        compute_of(self, op)

    def tensor(self, values: np.ndarray, *shape: int) -> torch.Tensor:
        """Return the next array as a parameter, which the first call for it adds."""
        if self.used == len(self.arrays):
            tensor = torch.from_numpy(np.array(values, np.float32, order="C"))  # XNNPACK refuses others
            tensor = tensor.reshape(shape) if shape else tensor
            self.arrays.append(torch.nn.Parameter(tensor, requires_grad=False))
        self.used += 1
        array: torch.Tensor = self.arrays[self.used - 1]
        return array

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the operation."""
        self.used = 0
        result: torch.Tensor = compute_of(self, self.op)(*inputs)
        return result


def traced(program: steps.Program) -> Any:
    """Return a program as `torch.export` traces it."""
    module = TraceableProgram(program).eval()
    return torch.export.export(module, module.example())


def retraced(model: Any, program: steps.Program) -> Any:
    """Return a quantized model of a program as `torch.export` traces it for one image."""
    return torch.export.export(model, TraceableProgram(program).example())


def executorch_file(traced_program: Any) -> bytes:
    """Return the content of a file with a traced program, whose operations XNNPACK runs where it has them.

    Raises:
        UsageError: ExecuTorch is not installed.
    """
    require_package(PACKAGE, PURPOSE)
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        edge = to_edge_transform_and_lower(traced_program, partitioner=[XnnpackPartitioner()])
        content: bytes = edge.to_executorch().buffer
    return content

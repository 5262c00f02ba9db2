"""A Core ML package read back, and its operations computed in torch as the documentation of MIL defines them.

Core ML itself exists on Apple's systems only. This shows that a package has the operations, constants and ports of its
network, and not how Core ML runs it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from convwright.engines.runner import Runner
from convwright.exporting.coreml_writer import LOGITS, PIXELS, load_tools

_ENTRY = np.dtype([("sentinel", "<u4"), ("kind", "<u4"), ("bytes", "<u8"), ("place", "<u8")])
"""Record of an array in the file of weights."""
_SENTINEL, _FLOAT32 = 0xDEADBEEF, 2
Value = Any
"""Input of an operation: a constant, the name of another operation's result, or a list of these."""


@dataclass(frozen=True)
class Operation:
    """One operation of a package."""

    kind: str
    output: str
    inputs: Mapping[str, Value]
    """By name: arrays and other constants, `Name` of earlier results, and lists of these."""


class Name(str):
    """Name of an earlier result."""


@dataclass(frozen=True)
class CoremlPackage:
    """A package read back."""

    spec: Any
    """Its description, coremltools' `Model`."""
    operations: tuple[Operation, ...]

    def constants(self) -> list[np.ndarray]:
        """Return all arrays of single precision."""
        values = [value for operation in self.operations for value in _flat(operation.inputs.values())]
        return [value for value in values if isinstance(value, np.ndarray) and value.dtype == np.float32]


def read_package(path: Path) -> CoremlPackage:
    """Read a Core ML package.

    Args:
        path: The folder `.mlpackage`.

    Raises:
        UsageError: coremltools is not installed.
        ValueError: The file of weights is damaged.
    """
    spec = load_tools().utils.load_spec(str(path))
    weights = next(iter(path.rglob("weight.bin")), None)  # small networks have none
    content = b"" if weights is None else weights.read_bytes()
    function = spec.mlProgram.functions["main"]
    found: dict[str, Value] = {}
    operations = []
    for op in function.block_specializations[function.opset].operations:
        output = op.outputs[0].name
        if op.type == "const":
            found[output] = _constant(op.attributes["val"], content)
            continue
        inputs = {name: _input(bound, found, content) for name, bound in op.inputs.items()}
        operations.append(Operation(op.type, output, inputs))
    return CoremlPackage(spec, tuple(operations))


def _input(bound: Any, found: Mapping[str, Value], content: bytes) -> Value:
    """Return what an input is bound to; several values as a list."""
    values = [
        found.get(one.name, Name(one.name)) if one.name else _constant(one.value, content) for one in bound.arguments
    ]
    return values if len(values) > 1 else values[0]


def _constant(stored: Any, content: bytes) -> Value:
    """Return a constant, which is stored in the description or in the file of weights."""
    kind = stored.type.tensorType
    shape = [int(size.constant.size) for size in kind.dimensions]
    if stored.WhichOneof("value") == "blobFileValue":
        return _blob(content, stored.blobFileValue.offset).reshape(shape)
    tensor = stored.immediateValue.tensor
    values = list(getattr(tensor, tensor.WhichOneof("value")).values)
    types = {"floats": np.float32, "ints": np.int32}
    dtype = types.get(tensor.WhichOneof("value"))
    if dtype is None or not shape:
        return values[0] if not shape else values
    return np.array(values, dtype).reshape(shape)


def _blob(content: bytes, offset: int) -> np.ndarray:
    """Return an array of the file of weights, whose record is at an offset.

    Raises:
        ValueError: There is no such record, or its array is not of single precision.
    """
    entry = np.frombuffer(content, _ENTRY, 1, offset)[0]
    if (int(entry["sentinel"]), int(entry["kind"])) != (_SENTINEL, _FLOAT32):
        raise ValueError("its file of weights is damaged")
    return np.frombuffer(content, np.float32, int(entry["bytes"]) // 4, int(entry["place"]))


def _flat(values: Any) -> list[Value]:
    return [one for value in values for one in (_flat(value) if isinstance(value, list) else [value])]


def package_runner(package: CoremlPackage) -> Runner:
    """Return a function that computes the operations of a package in torch, for any number of images.

    Raises:
        ValueError: The package has an operation that Convwright does not write.
    """
    if unknown := {operation.kind for operation in package.operations} - _COMPUTE.keys():
        raise ValueError(f"it has operations of unknown kinds: {', '.join(sorted(unknown))}")

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        found = {PIXELS: torch.from_numpy(images).float()}

        def value(bound: Value) -> Value:
            if isinstance(bound, list):
                return [value(one) for one in bound]
            if isinstance(bound, np.ndarray) and bound.dtype == np.float32:
                return torch.from_numpy(bound.copy())
            return found[bound] if isinstance(bound, Name) else bound

        for operation in package.operations:
            inputs = {name: value(bound) for name, bound in operation.inputs.items()}
            found[operation.output] = _COMPUTE[operation.kind](**inputs)
        logits: np.ndarray = found[LOGITS].numpy()
        return logits

    return run


def _padded(x: torch.Tensor, pad: np.ndarray, value: float = 0.0) -> torch.Tensor:
    top, bottom, left, right = (int(size) for size in pad)
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv(
    *, x: torch.Tensor, weight: Any, bias: Any, strides: Any, pad_type: str, pad: Any, dilations: Any, groups: int
) -> torch.Tensor:
    _expect("pad_type", pad_type, "custom")
    return functional.conv2d(_padded(x, pad), weight, bias, [*map(int, strides)], 0, [*map(int, dilations)], groups)


def _max_pool(
    *, x: torch.Tensor, kernel_sizes: Any, strides: Any, pad_type: str, pad: Any, ceil_mode: bool
) -> torch.Tensor:
    _expect("pad_type", pad_type, "custom")
    _expect("ceil_mode", ceil_mode, False)
    return functional.max_pool2d(_padded(x, pad, -torch.inf), [*map(int, kernel_sizes)], [*map(int, strides)])


def _avg_pool(
    *,
    x: torch.Tensor,
    kernel_sizes: Any,
    strides: Any,
    pad_type: str,
    pad: Any,
    ceil_mode: bool,
    exclude_padding_from_average: bool,
) -> torch.Tensor:
    _expect("pad_type", pad_type, "custom")
    _expect("ceil_mode", ceil_mode, False)
    kernel, steps = [*map(int, kernel_sizes)], [*map(int, strides)]
    means = functional.avg_pool2d(_padded(x, pad), kernel, steps)
    if not exclude_padding_from_average:
        return means
    return means / functional.avg_pool2d(_padded(torch.ones_like(x[:1, :1]), pad), kernel, steps)


def _gelu(*, x: torch.Tensor, mode: str) -> torch.Tensor:
    _expect("mode", mode, "EXACT")
    return functional.gelu(x)


def _expect(name: str, value: object, written: object) -> None:
    """Check that an attribute has the only value that Convwright writes."""
    if value != written:
        raise ValueError(f"it has an operation with {name} {value!r} instead of {written!r}")


def _reshape(*, x: torch.Tensor, shape: np.ndarray) -> torch.Tensor:
    return x.reshape(len(x), *(int(size) for size in shape[1:]))


_COMPUTE: dict[str, Callable[..., torch.Tensor]] = {
    "conv": _conv,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "reshape": _reshape,
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "maximum": lambda x, y: torch.maximum(x, y),
    "minimum": lambda x, y: torch.minimum(x, y),
    "relu": lambda x: torch.relu(x),
    "relu6": lambda x: functional.relu6(x),
    "silu": lambda x: functional.silu(x),
    "sigmoid": lambda x: torch.sigmoid(x),
    "tanh": lambda x: torch.tanh(x),
    "sigmoid_hard": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    "gelu": _gelu,
    "reduce_mean": lambda x, axes, keep_dims: x.mean([*map(int, axes)], keepdim=keep_dims),
    "linear": lambda x, weight, bias: functional.linear(x, weight, bias),
    "concat": lambda values, axis, interleave: torch.cat(
        [one.expand(len(values[0]), *one.shape[1:]) for one in values], axis
    ),
}
"""Computes an operation of each kind."""

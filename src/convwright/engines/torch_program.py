"""A program in torch: channels last, with activations in place and dense blocks without copies."""

from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as f

from convwright.engines import program as steps
from convwright.engines.runner import Runner

Maps = dict[steps.Value, torch.Tensor]
Step = Callable[[Maps], None]


class Arrays(Protocol):
    """What makes tensors of an operation's arrays."""

    @property
    def owned(self) -> Collection[steps.Value]:
        """Values that their only reader may overwrite."""

    def tensor(self, values: np.ndarray, *shape: int) -> torch.Tensor:
        """Return an array as a tensor, of another shape where one is given."""


class TorchProgram(torch.nn.Module):
    """Runs a program on uint8 images, N x C x H x W, and returns logits, N x classes.

    The feature maps that a dense block concatenates one after the other lie in one buffer: each new map is written to
    its place there, and a concatenation is a longer view of the buffer instead of a copy.

    Args:
        program: The program.
        dtype: Type to compute in: float32 or bfloat16.
    """

    def __init__(self, program: steps.Program, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.program, self.dtype = program, dtype
        self.owned = _overwritable(program)
        self.places = _places(program)
        self.freed = _freed_values(program)
        self.steps = [self._step(op) for op in program.ops]

    @torch.inference_mode()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run every operation; a feature map is freed once no later operation reads it."""
        maps: Maps = {0: images.to(self.dtype, memory_format=torch.channels_last)}
        for step, done in zip(self.steps, self.freed, strict=True):
            step(maps)
            for value in done:
                del maps[value]
        return maps[self.program.output].flatten(1).float()

    def _step(self, op: steps.Op) -> Step:
        compute = compute_of(self, op)
        inputs, output = op.inputs, op.output
        if output in self.places:
            return _placed(compute, op, self.places[output])

        def step(maps: Maps) -> None:
            maps[output] = compute(*(maps[value] for value in inputs))

        return step

    def tensor(self, values: np.ndarray, *shape: int) -> torch.Tensor:
        """Return an array as a tensor of the module's type, four-dimensional ones in channels last."""
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(self.dtype)
        tensor = tensor.reshape(shape) if shape else tensor
        if tensor.ndim == 4 and tensor.numel() > tensor.shape[0]:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor


Compute = Callable[..., torch.Tensor]


def compute_of(to: Arrays, op: steps.Op) -> Compute:
    """Return the function of an operation, from its inputs to its result.

    Args:
        to: What makes tensors of the operation's arrays; it is called in the same order each time.
        op: The operation.
    """
    return _COMPUTE[type(op)](to, op)


def _convolve(to: Arrays, op: Any) -> Compute:
    weight, bias = to.tensor(op.weight), to.tensor(op.bias)
    top, left, bottom, right = op.pads
    even = (top, left) == (bottom, right)

    def compute(x: torch.Tensor) -> torch.Tensor:
        if not even:
            x = f.pad(x, (left, right, top, bottom))
        return f.conv2d(x, weight, bias, op.stride, (top, left) if even else 0, op.dilation, op.groups)

    return compute


def _affine(to: Arrays, op: Any) -> Compute:
    factor, shift = to.tensor(op.factor, -1, 1, 1), to.tensor(op.shift, -1, 1, 1)
    if np.all(op.factor == 1):
        return lambda x: x + shift
    return lambda x: torch.addcmul(shift, x, factor)


def _activate(to: Arrays, op: Any) -> Compute:
    function = _FUNCTIONS[op.function]
    if op.inputs[0] in to.owned and op.function in _IN_PLACE:
        return _IN_PLACE[op.function]
    return function


_FUNCTIONS: dict[str, Compute] = {
    "relu": torch.relu,
    "relu6": f.relu6,
    "silu": f.silu,
    "sigmoid": torch.sigmoid,
    "hardswish": f.hardswish,
    "hardsigmoid": f.hardsigmoid,
    "gelu": f.gelu,
    "tanh": torch.tanh,
}
_IN_PLACE: dict[str, Compute] = {
    "relu": torch.relu_,
    "relu6": lambda x: f.relu6(x, inplace=True),
    "silu": lambda x: f.silu(x, inplace=True),
    "sigmoid": torch.sigmoid_,
    "hardswish": lambda x: f.hardswish(x, inplace=True),
}


def _clamp(to: Arrays, op: Any) -> Compute:
    low, high = to.tensor(op.low, -1, 1, 1), to.tensor(op.high, -1, 1, 1)
    if np.all(np.isinf(op.high)):
        return lambda x: torch.maximum(x, low)
    return lambda x: torch.clamp(x, low, high)


def _window(_: Arrays, op: Any) -> Compute:
    top, left, bottom, right = op.pads
    if (top, left) == (bottom, right):
        padding = (top, left)
        if op.function == "max":
            return lambda x: f.max_pool2d(x, op.kernel, op.stride, padding)
        return lambda x: f.avg_pool2d(x, op.kernel, op.stride, padding, count_include_pad=op.counted)
    around = (left, right, top, bottom)
    if op.function == "max":
        return lambda x: f.max_pool2d(f.pad(x, around, value=-torch.inf), op.kernel, op.stride)

    def compute(x: torch.Tensor) -> torch.Tensor:
        share = f.avg_pool2d(f.pad(torch.ones_like(x[:1, :1]), around), op.kernel, op.stride)
        return f.avg_pool2d(f.pad(x, around), op.kernel, op.stride) / share

    return compute


def _connect(to: Arrays, op: Any) -> Compute:
    weight, bias = to.tensor(op.weight), to.tensor(op.bias)
    return lambda x: f.linear(x.flatten(1), weight, bias)[:, :, None, None]


def _sum(to: Arrays, op: Any) -> Compute:
    in_place = op.inputs[0] in to.owned

    def compute(first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        total = first.add_(others[0]) if in_place else first + others[0]
        for other in others[1:]:
            total = total.add_(other)
        return total

    return compute


def _multiply(to: Arrays, op: Any) -> Compute:
    return torch.Tensor.mul_ if op.inputs[0] in to.owned else torch.mul


_COMPUTE: dict[type[steps.Op], Callable[[Arrays, Any], Compute]] = {
    steps.Convolve: _convolve,
    steps.Affine: _affine,
    steps.Activate: _activate,
    steps.Clamp: _clamp,
    steps.Window: _window,
    steps.Connect: _connect,
    steps.Sum: _sum,
    steps.Multiply: _multiply,
    steps.Mean: lambda _, __: lambda x: x.mean((2, 3), keepdim=True),
    steps.Join: lambda _, __: lambda *parts: torch.cat(parts, 1),
    steps.AddChannels: lambda _, op: lambda x: f.pad(x, (0, 0, 0, 0, 0, op.extra)),
}


Place = tuple[steps.Value, int, int, int]
"""Concatenation whose buffer holds a value, the buffer's channels, and the range of the value's channels in it."""


def _places(program: steps.Program) -> dict[steps.Value, Place]:
    """Return the place of every value that chained concatenations put into one buffer.

    A concatenation whose first part is itself a concatenation extends it: the last one of such a chain has the size of
    the buffer. Where two chains share parts, the parts lie in the buffer of the first chain, and the other copies.
    """
    concats = {op.output: op for op in program.ops if isinstance(op, steps.Join)}
    extended = {op.inputs[0] for op in concats.values() if op.inputs[0] in concats}
    places: dict[steps.Value, Place] = {}
    for op in program.ops:
        if op.output in concats and op.output not in extended:  # the last of its chain
            _add_chain(program, op, concats, places)
    places.pop(0, None)
    return places


def _add_chain(program: steps.Program, last: Any, concats: dict[int, Any], places: dict[steps.Value, Place]) -> None:
    whole = program.shapes[last.output][0]
    taken: dict[steps.Value, Place] = {}
    op = last
    while True:
        start = 0
        for index, value in enumerate(op.inputs):
            channels = program.shapes[value][0]
            if value in places or value in taken or value == 0 or (index and value in concats):
                return  # a part lies in another buffer: this chain copies
            if value not in concats:
                taken[value] = (last.output, whole, start, start + channels)
            start += channels
        taken[op.output] = (last.output, whole, 0, start)
        if op.inputs[0] not in concats:
            break
        op = concats[op.inputs[0]]
    places.update(taken)


def _placed(compute: Compute, op: steps.Op, place: Place) -> Step:
    """Return a step whose result is written into a buffer, which the first such step creates."""
    concat, whole, start, stop = place
    key, inputs, output = -concat, op.inputs, op.output
    if isinstance(op, steps.Join):

        def view(maps: Maps) -> None:
            maps[output] = maps[key][:, start:stop]

        return view

    def step(maps: Maps) -> None:
        made = compute(*(maps[value] for value in inputs))
        if key not in maps:
            batch, _, height, width = made.shape
            buffer = torch.empty((batch, whole, height, width), dtype=made.dtype, device=made.device)
            maps[key] = buffer.contiguous(memory_format=torch.channels_last)
        maps[output] = maps[key][:, start:stop].copy_(made)

    return step


def _freed_values(program: steps.Program) -> list[list[steps.Value]]:
    """Return, for each operation, the values to free after it: no later one reads them. Buffers are freed likewise."""
    last = {value: index for index, op in enumerate(program.ops) for value in op.inputs}
    done: list[list[steps.Value]] = [[] for _ in program.ops]
    for value, index in last.items():
        if value != program.output:
            done[index].append(value)
    places = _places(program)
    for index, op in enumerate(program.ops):
        if isinstance(op, steps.Join) and op.output in places and places[op.output][0] == op.output:
            done[index].append(-op.output)  # the view keeps the memory as long as it is read
    return done


def _overwritable(program: steps.Program) -> set[steps.Value]:
    """Return the values that a single operation reads, in memory of their own, so that it may overwrite them."""
    readers, places = program.readers(), _places(program)
    fresh = (steps.Convolve, steps.Affine, steps.Clamp, steps.Sum, steps.Multiply, steps.Activate)
    made = {op.output for op in program.ops if isinstance(op, fresh)}
    return {value for value in made if readers[value] == 1 and value not in places and value != program.output}


def torch_runner(program: steps.Program, threads: int | None = None, precision: str = "f32") -> Runner:
    """Return a function that runs a program in torch.

    Args:
        program: The program.
        threads: Number of threads; None: torch's setting.
        precision: `f32` or `bf16`.
    """
    module = TorchProgram(program, torch.bfloat16 if precision == "bf16" else torch.float32)

    def run(images: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        try:
            if threads is not None and threads != before:
                torch.set_num_threads(threads)
            logits: np.ndarray = module(torch.from_numpy(images)).numpy()
            return logits
        finally:
            if threads is not None and threads != before:
                torch.set_num_threads(before)

    return run

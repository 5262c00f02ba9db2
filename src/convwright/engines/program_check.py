"""Checks of a program: every operation's arrays fit its inputs, and its result has the recorded shape."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from convwright.arch.node import LARGEST_NUMBER
from convwright.arch.shapes import Shape
from convwright.engines import program as steps
from convwright.errors import NetworkError

LARGEST_MAP = 2**31
"""Most values of one feature map of one image."""


def check_program(program: steps.Program) -> None:
    """Infer the shape of every value of a program and compare it with the recorded one.

    Args:
        program: The program.

    Raises:
        NetworkError: An operation reads a value that no earlier operation returns, has arrays or numbers that do not
            fit its inputs, or returns another shape than is recorded; or the output is not one vector of logits.
    """
    made = {0: _recorded(program, 0)}
    for index, op in enumerate(program.ops):
        place = f"operation {index} ({type(op).__name__.lower()} at {op.path:.100})"
        if unknown := [value for value in op.inputs if value not in made]:
            raise NetworkError(f"{place} reads value {unknown[0]}, which no earlier operation returns")
        if op.output in made:
            raise NetworkError(f"{place} returns value {op.output}, which an earlier operation returns")
        try:
            shape = result_shape(op, [made[value] for value in op.inputs])
        except _MisfitError as error:
            raise NetworkError(f"{place}: {error}") from None
        if shape != _recorded(program, op.output):
            raise NetworkError(f"{place} returns {_shown(shape)}, not {_shown(program.shapes[op.output])} as recorded")
        made[op.output] = shape
    if program.output not in made:
        raise NetworkError(f"no operation returns its output, value {program.output}")
    if made[program.output][1:] != (1, 1):
        raise NetworkError(f"its output is {_shown(made[program.output])}, not one value for each class")


def result_shape(op: steps.Op, inputs: list[Shape]) -> Shape:
    """Return the shape of an operation's result.

    Args:
        op: The operation.
        inputs: Shapes of its inputs.

    Raises:
        ValueError: Its arrays or numbers do not fit the inputs.
    """
    numbers = list(chain.from_iterable(_numbers(value) for value in vars(op).values()))
    _require(all(0 <= number <= LARGEST_NUMBER for number in numbers), "a number is negative or too large")
    arrays = {name: value for name, value in vars(op).items() if isinstance(value, np.ndarray)}
    for name, array in arrays.items():
        sound = not np.isnan(array).any() if isinstance(op, steps.Clamp) else np.isfinite(array).all()
        _require(bool(sound), f"{name} has NaN or infinite values")
    least, most, rule = _RULES[type(op)]
    _require(least <= len(inputs) <= most, f"{len(inputs)} inputs instead of {least} to {most}")
    return rule(op, inputs)


class _MisfitError(ValueError):
    """An array or a number of an operation that does not fit its inputs."""


def _require(fits: bool, otherwise: str) -> None:
    if not fits:
        raise _MisfitError(otherwise)


def _numbers(value: object) -> tuple[int, ...]:
    if isinstance(value, tuple):
        return value
    return (value,) if type(value) is int else ()


def _recorded(program: steps.Program, value: steps.Value) -> Shape:
    shape = program.shapes.get(value)
    if shape is None:
        raise NetworkError(f"the shape of value {value} is not recorded")
    if min(shape) < 1 or shape[0] * shape[1] * shape[2] > LARGEST_MAP:
        raise NetworkError(f"value {value} cannot be {_shown(shape)}")
    return shape


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _per_channel(op: Any, names: tuple[str, ...], channels: int) -> None:
    for name in names:
        shape = getattr(op, name).shape
        _require(shape == (channels,), f"{name} is {_shown(shape) or 'one value'} for {channels} channels")


def _windows(shape: Shape, pads: steps.Pads, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of the result of sliding windows."""
    _require(min(stride) >= 1 and min(kernel) >= 1, "a kernel or stride is 0")
    (_, height, width), (top, left, bottom, right) = shape, pads
    spare = height + top + bottom - kernel[0], width + left + right - kernel[1]
    _require(min(spare) >= 0, f"a kernel of {_shown(kernel)} is larger than its input")
    return spare[0] // stride[0] + 1, spare[1] // stride[1] + 1


def _convolve(op: steps.Convolve, inputs: list[Shape]) -> Shape:
    channels = inputs[0][0]
    _require(op.weight.ndim == 4 and min(op.weight.shape) >= 1, f"weight is {_shown(op.weight.shape)}")
    out, entering, height, width = op.weight.shape
    groups, dilation = op.groups, op.dilation
    _require(groups >= 1 and out % groups == 0, f"{out} output channels cannot have {groups} groups")
    _require(entering * groups == channels, f"weight is for {entering * groups} channels, not {channels}")
    _require(dilation >= 1, "its dilation is 0")
    _per_channel(op, ("bias",), out)
    reach = dilation * (height - 1) + 1, dilation * (width - 1) + 1
    return (out, *_windows(inputs[0], op.pads, reach, op.stride))


def _window(op: steps.Window, inputs: list[Shape]) -> Shape:
    _require(op.function in ("max", "avg"), f"its function must be max or avg, not {op.function!r:.40}")
    top, left, bottom, right = op.pads
    # A window that lies in the padding has no maximum and no mean.
    _require(
        2 * max(top, left) <= op.kernel and max(bottom, right) < max(op.kernel, 1),
        f"its padding of {_shown(op.pads)} is too large for a kernel of {op.kernel}",
    )
    _require(
        (top, left) == (bottom, right) or not (op.counted and op.function == "avg"),
        "its mean must not include asymmetric padding",
    )
    return (inputs[0][0], *_windows(inputs[0], op.pads, (op.kernel,) * 2, (op.stride,) * 2))


def _connect(op: steps.Connect, inputs: list[Shape]) -> Shape:
    channels, height, width = inputs[0]
    values = channels * height * width
    _require(op.weight.ndim == 2 and op.weight.shape[0] >= 1, f"weight is {_shown(op.weight.shape)}")
    _require(op.weight.shape[1] == values, f"weight is for {op.weight.shape[1]} values, not {values}")
    _per_channel(op, ("bias",), op.weight.shape[0])
    return op.weight.shape[0], 1, 1


def _affine(op: steps.Affine, inputs: list[Shape]) -> Shape:
    _per_channel(op, ("factor", "shift"), inputs[0][0])
    return inputs[0]


def _clamp(op: steps.Clamp, inputs: list[Shape]) -> Shape:
    _per_channel(op, ("low", "high"), inputs[0][0])
    return inputs[0]


def _sum(_: steps.Sum, inputs: list[Shape]) -> Shape:
    _require(len(set(inputs)) == 1, f"{' and '.join(map(_shown, inputs))} cannot be added")
    return inputs[0]


def _join(_: steps.Join, inputs: list[Shape]) -> Shape:
    _require(len({shape[1:] for shape in inputs}) == 1, f"{' and '.join(map(_shown, inputs))} cannot be joined")
    return (sum(shape[0] for shape in inputs), *inputs[0][1:])


def _multiply(_: steps.Multiply, inputs: list[Shape]) -> Shape:
    gated, factors = inputs
    fits = factors in (gated, (gated[0], 1, 1))
    _require(fits, f"{_shown(gated)} cannot be multiplied by {_shown(factors)}")
    return gated


def _add_channels(op: steps.AddChannels, inputs: list[Shape]) -> Shape:
    channels, height, width = inputs[0]
    return channels + op.extra, height, width


MANY = 10_000
"""Most inputs of an operation."""
Rule = Callable[[Any, list[Shape]], Shape]
_RULES: dict[type[steps.Op], tuple[int, int, Rule]] = {
    steps.Convolve: (1, 1, _convolve),
    steps.Affine: (1, 1, _affine),
    steps.Activate: (1, 1, lambda _, inputs: inputs[0]),
    steps.Clamp: (1, 1, _clamp),
    steps.Window: (1, 1, _window),
    steps.Mean: (1, 1, lambda _, inputs: (inputs[0][0], 1, 1)),
    steps.Connect: (1, 1, _connect),
    steps.Sum: (2, MANY, _sum),
    steps.Join: (1, MANY, _join),
    steps.Multiply: (2, 2, _multiply),
    steps.AddChannels: (1, 1, _add_channels),
}
"""For each operation: fewest and most inputs, and the rule for the shape of its result."""
assert _RULES.keys() == set(steps.Op.__subclasses__())

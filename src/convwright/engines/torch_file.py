"""A program in a safetensors file: arrays as tensors, operations and the card as JSON in the header. No code."""

from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from convwright import json_text
from convwright.arch.node import brief, fits
from convwright.arch.resolution import sides
from convwright.arch.shapes import Shape
from convwright.engines import program as steps
from convwright.engines.card import KEY, Card
from convwright.engines.program_check import check_program
from convwright.errors import NetworkError, UsageError
from convwright.stats.ood import OodModel

PROGRAM = "program"
OOD = "ood/"
"""Start of the names of arrays of the out-of-distribution score."""
KINDS: dict[str, type[steps.Op]] = {kind.__name__: kind for kind in steps.Op.__subclasses__()}
_HINTS = {name: get_type_hints(kind) for name, kind in KINDS.items()}
"""Types of every field of each operation."""


def torch_file(program: steps.Program, card: Card, ood: OodModel | None = None) -> bytes:
    """Return the content of a file with a program, its card, and the arrays of its out-of-distribution score."""
    arrays = {} if ood is None else {OOD + name: array for name, array in ood.to_arrays().items()}
    ops = [_op_json(op, index, arrays) for index, op in enumerate(program.ops)]
    shapes = {str(value): list(shape) for value, shape in program.shapes.items()}
    stored = {"name": program.name, "ops": ops, "shapes": shapes, "output": program.output}
    return save(arrays, {KEY: card.to_json_text(), PROGRAM: json_text.dump(stored, ascii_only=True)})


def read_torch_file(path: Path, card: Card) -> steps.Program:
    """Read the program of a file that `torch_file` made.

    Args:
        path: The .safetensors file.
        card: Its card, as `read_card` returns it; the program must fit its image size and number of classes.

    Raises:
        UsageError: The file is damaged or its program is not valid; the message names the file and the field.
    """
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, ValueError, TypeError, LookupError, AttributeError) as error:
        # NumPy lacks some of the format's types of numbers
        raise UsageError(f"{path}: not a readable safetensors file: {error}") from None
    if PROGRAM not in header:
        raise UsageError(f"{path}: weights alone, not a network that 'convwright export' wrote")
    stored = json_text.parse(header[PROGRAM], f"{path}: its network")
    try:
        program = _program(stored, arrays)
        check_program(program)
    except NetworkError as error:
        raise UsageError(f"{path}: its network is not valid: {error}") from None
    expected = card.channels, *sides(card.resolution)
    if program.input_shape != expected or program.classes != len(card.classes):
        found, right = (" x ".join(map(str, shape)) for shape in (program.input_shape, expected))
        raise UsageError(
            f"{path}: its network reads {found} and predicts {program.classes} classes, and its card has {right} and "
            f"{len(card.classes)}; export it again"
        )
    return program


def _op_json(op: steps.Op, index: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return an operation as JSON; its arrays are added to `arrays` and named in it."""
    stored: dict[str, Any] = {"kind": type(op).__name__}
    for name, value in vars(op).items():
        if isinstance(value, np.ndarray):
            arrays[f"{index}.{op.path}.{name}"] = np.ascontiguousarray(value, np.float32)
            value = {"array": f"{index}.{op.path}.{name}"}
        stored[name] = value
    return stored


def _program(stored: Any, arrays: dict[str, np.ndarray]) -> steps.Program:
    """Return the program that parsed JSON describes. NetworkError names a field of the wrong type."""
    _check_members(stored, {"name", "ops", "shapes", "output"}, "it")
    name, ops, shapes, output = (stored[key] for key in ("name", "ops", "shapes", "output"))
    if (
        not isinstance(name, str)
        or not isinstance(ops, list)
        or not isinstance(shapes, dict)
        or type(output) is not int
    ):
        raise NetworkError("its 'name', 'ops', 'shapes' and 'output' are a text, a list, an object and a number")
    return steps.Program(
        name,
        tuple(_op(one, f"operation {index}", arrays) for index, one in enumerate(ops)),
        dict(_shape(value, shape) for value, shape in shapes.items()),
        output,
    )


def _shape(value: str, stored: object) -> tuple[steps.Value, Shape]:
    shape = tuple(stored) if isinstance(stored, list) else stored
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and fits(shape, tuple[int, int, int])):
        raise NetworkError(f"'shapes' cannot have {brief(stored)} for value {brief(value)}")
    return int(value), shape  # type: ignore[return-value]


def _op(stored: Any, place: str, arrays: dict[str, np.ndarray]) -> steps.Op:
    name = stored.get("kind") if isinstance(stored, dict) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise NetworkError(f"{place} is of no known kind: {brief(name)}; known are {', '.join(sorted(KINDS))}")
    hints = _HINTS[kind.__name__]
    _check_members(stored, {"kind", *hints}, place)
    return kind(**{field: _value(stored[field], hint, f"{place}: {field!r}", arrays) for field, hint in hints.items()})


def _check_members(stored: Any, names: set[str], place: str) -> None:
    found = set(stored) if isinstance(stored, dict) else set()
    if found != names:
        wrong = sorted(found ^ names)[0]
        raise NetworkError(f"{place} {'has an unknown' if wrong in found else 'lacks its'} field {brief(wrong)}")


def _value(stored: Any, hint: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return the value of an operation's field, of the type that the field is annotated with."""
    if hint is np.ndarray:
        name = stored.get("array") if isinstance(stored, dict) else None
        array = arrays.get(name) if isinstance(name, str) else None
        if array is None or array.dtype != np.float32:
            raise NetworkError(f"{place} names no array of 32-bit floats: {brief(stored)}")
        return array
    value = tuple(stored) if isinstance(stored, list) else stored
    if not fits(value, hint):
        raise NetworkError(f"{place} cannot be {brief(stored)}")
    return value

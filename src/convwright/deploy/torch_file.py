"""A program in a safetensors file: arrays as tensors, operations and the card as JSON in the header. No code."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from convwright.deploy import program as steps
from convwright.deploy.card import KEY, Card
from convwright.errors import UsageError

PROGRAM = "program"
KINDS: dict[str, type[steps.Op]] = {kind.__name__: kind for kind in steps.Op.__subclasses__()}


def write_torch_file(program: steps.Program, card: Card, path: Path) -> None:
    """Write a program and its card."""
    arrays: dict[str, np.ndarray] = {}
    ops = [_told(op, index, arrays) for index, op in enumerate(program.ops)]
    shapes = {str(value): list(shape) for value, shape in program.shapes.items()}
    told = {"name": program.name, "ops": ops, "shapes": shapes, "output": program.output}
    path.write_bytes(save(arrays, {KEY: card.to_json_text(), PROGRAM: json.dumps(told)}))


def read_torch_file(path: Path) -> tuple[steps.Program, Card]:
    """Read what `write_torch_file` wrote. UsageError names the file and what is wrong with it."""
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a readable safetensors file: {error}") from None
    if KEY not in header or PROGRAM not in header:
        raise UsageError(f"{path}: weights alone, not a network that 'convwright export' wrote")
    card = Card.from_json_text(header[KEY], path)
    try:
        return _program(json.loads(header[PROGRAM]), arrays), card
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: its network is not readable: {error}") from None


def _told(op: steps.Op, index: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": type(op).__name__}
    for name, value in vars(op).items():
        if isinstance(value, np.ndarray):
            arrays[f"{index}.{op.path}.{name}"] = np.ascontiguousarray(value, np.float32)
            value = {"array": f"{index}.{op.path}.{name}"}
        told[name] = value
    return told


def _program(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> steps.Program:
    shapes = {int(value): (int(c), int(h), int(w)) for value, (c, h, w) in told["shapes"].items()}
    ops = tuple(_op(one, arrays) for one in told["ops"])
    made = {0}
    for op in ops:
        if not made.issuperset(op.inputs) or op.output not in shapes:
            raise ValueError(f"{op.path} reads what nothing has made")
        made.add(op.output)
    if told["output"] not in made:
        raise ValueError("nothing makes its output")
    return steps.Program(str(told["name"]), ops, shapes, told["output"])


def _op(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> steps.Op:
    kind = KINDS[told["kind"]]
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = told[field.name]
        if isinstance(value, dict):
            value = arrays[value["array"]]
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)

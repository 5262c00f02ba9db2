"""The card of an exported file, without an engine: which is quickest must be known before any is imported."""

import json
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from convwright.deploy.card import KEY, Card
from convwright.errors import UsageError

MOST_BYTES = 2**26
"""No card is longer; a damaged file may say otherwise."""
_METADATA, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2
"""Numbers of fields in ONNX's ModelProto and StringStringEntryProto."""


def read_card(path: Path) -> Card | None:
    """Return the card of an .onnx, .xml or .safetensors file; None without a sound one, which engines then tell."""
    read = {".onnx": _of_onnx, ".xml": _of_openvino, ".safetensors": _of_safetensors}.get(path.suffix)
    with suppress(OSError, ValueError, SyntaxError, AttributeError, UsageError):  # XML's errors are SyntaxErrors
        text = read(path) if read else None
        return Card.from_json_text(text, path) if text else None
    return None


def _of_onnx(path: Path) -> str | None:
    with path.open("rb") as file:
        for entry in _fields(file, _METADATA):
            if b"".join(_fields(BytesIO(entry), _ENTRY_KEY)) == KEY.encode():
                return b"".join(_fields(BytesIO(entry), _ENTRY_VALUE)).decode()
    return None


def _fields(file: BinaryIO, wanted: int) -> Iterator[bytes]:
    """Yield the fields of one number in a message of Protocol Buffers; the others, as the graph, are passed over."""
    while (tag := _varint(file)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _varint(file)
            continue
        length = {1: 8, 5: 4}.get(kind) if kind != 2 else _varint(file)
        if length is None:
            raise ValueError("not a message of Protocol Buffers")
        if number != wanted:
            file.seek(length, 1)
        elif length <= MOST_BYTES:
            yield file.read(length)


def _varint(file: BinaryIO) -> int | None:
    """Read a number of seven bits a byte, the least first; None at the end of the file."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("not a number of Protocol Buffers")


def _of_openvino(path: Path) -> str | None:
    root = ElementTree.parse(path).getroot()
    found = root.find(f"rt_info/{KEY}")
    found = root.find(f"rt_info/framework/{KEY}") if found is None else found
    return None if found is None else found.get("value")


def _of_safetensors(path: Path) -> str | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text: str | None = json.loads(file.read(length if length <= MOST_BYTES else 0))["__metadata__"].get(KEY)
    return text

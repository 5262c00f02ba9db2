"""The card of an exported file, read without an engine: the card decides which engine is imported."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from convwright import json_text
from convwright.engines.card import KEY, Card
from convwright.engines.trailer import read_trailer
from convwright.errors import UsageError

MOST_BYTES = 2**26
"""No card is longer; a damaged file may record any length."""
_METADATA, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2
"""Numbers of fields in ONNX's ModelProto and StringStringEntryProto."""


def read_card(path: Path) -> Card:
    """Return the card of an exported file.

    Raises:
        UsageError: The file cannot be read, is damaged, or is not one that `convwright export` wrote.
    """
    kind, read = _READERS[path.suffix]
    try:
        text = read(path)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, OverflowError, LookupError, SyntaxError) as error:  # SyntaxErrors are XML's
        raise UsageError(f"{path}: not a readable {kind} file: {error}") from None
    if not text:
        raise UsageError(f"{path}: not a file that 'convwright export' wrote: it has no card")
    return Card.from_json_text(text, path)


def _of_onnx(path: Path) -> str | None:
    with path.open("rb") as file:
        for entry in _fields(file, _METADATA):
            if b"".join(_fields(BytesIO(entry), _ENTRY_KEY)) == KEY.encode():
                return b"".join(_fields(BytesIO(entry), _ENTRY_VALUE)).decode()
    return None


def _fields(file: BinaryIO, wanted: int) -> Iterator[bytes]:
    """Yield the fields with one number of a Protocol Buffers message; other fields, such as the graph, are skipped."""
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
    """Read a number stored as seven bits a byte, the lowest first; None at the end of the file."""
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
    found = ElementTree.parse(path).getroot().find(f"rt_info/{KEY}")
    return None if found is None else found.get("value")


def _of_safetensors(path: Path) -> str | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length if length <= MOST_BYTES else 0)
    parsed = json_text.parse(header, f"{path}: not a readable safetensors file: its header")
    metadata = parsed.get("__metadata__") if isinstance(parsed, dict) else None
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    return text if isinstance(text, str) else None


_READERS = {
    ".onnx": ("ONNX", _of_onnx),
    ".xml": ("OpenVINO", _of_openvino),
    ".safetensors": ("safetensors", _of_safetensors),
    ".tflite": ("LiteRT", read_trailer),
    ".pte": ("ExecuTorch", read_trailer),
}

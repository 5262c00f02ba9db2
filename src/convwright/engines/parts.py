"""The parts of an exported file: the network itself, and what prepares its input and adds to its output.

A file whose input is an image of any size holds the network of a file whose input is a tensor, between other parts.
Convwright reads and resizes images itself, in batches, and so runs the network alone: with the same result, since the
parts compute what Convwright computes. The parts are recognised by the names of their nodes. No package of ONNX is
needed: the file is a message of Protocol Buffers, whose fields are copied or left out.
"""

from collections.abc import Iterator
from typing import Any

from convwright.arch.resolution import sides
from convwright.engines.card import Card

IMAGE, PIXELS, LOGITS = "image", "images", "logits"
"""Names of the input of any size, of the network's own input, and of its output."""
EXPLAINED_CLASS, MAP = "explained_class", "activation_map"
"""Names of the input with the class to explain, -1 for the predicted one, and of the output with its map."""
PROBABILITIES, PREDICTION_SET, ENERGY, KNOWN = "probabilities", "prediction_set", "energy", "known"
"""Names of the outputs with calibrated probabilities, members of the prediction set, energy, and whether an image is
like those trained on."""
OOD_SCORE = "ood_score"
"""Name of the output with the out-of-distribution score."""
PREPROCESSING, EXPLANATION, LIMITS = "preprocessing/", "explanation/", "limits/"
"""Starts of the names of the nodes and constants that turn an image into the network's input, compute the map, and
compute what the network does not know."""
ADDED = (PREPROCESSING, EXPLANATION, LIMITS, EXPLAINED_CLASS)
"""Starts of the names of nodes and constants that do not belong to the network."""

_GRAPH = 7
"""Number of a field in ONNX's ModelProto."""
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
"""Numbers of fields in GraphProto."""
_NODE_NAME, _TENSOR_NAME = 3, 8
_UINT8, _FLOAT = 2, 1
"""Types of numbers in TensorProto."""


def network_of_onnx(content: bytes, card: Card, *, scored: bool = False) -> bytes:
    """Return an ONNX file with the network alone, from uint8, `N x C x H x W`, to logits.

    Args:
        content: The file's content.
        card: Its card.
        scored: Whether the file keeps the output `OOD_SCORE`.

    Raises:
        ValueError: The content is not a message of Protocol Buffers.
    """
    view = memoryview(content)
    kept = [
        (_replaced(field, _network_graph(body, card, scored=scored)) if number == _GRAPH else field)
        for number, field, body in _fields(view)
    ]
    return b"".join(kept)


def network_of_openvino(model: Any, card: Card, *, scored: bool = False) -> Any:
    """Return an OpenVINO model with the network alone.

    Args:
        model: The model of a whole file; it is changed.
        card: The file's card.
        scored: Whether the model keeps the output `OOD_SCORE`.
    """
    import openvino

    outputs = {name: output for op in model.get_ops() for output in op.outputs() for name in output.get_names()}
    shape = openvino.PartialShape([-1, card.channels, *sides(card.resolution)])
    images = openvino.op.Parameter(openvino.Type.u8, shape)
    for target in outputs[PIXELS].get_target_inputs():
        target.replace_source_output(images.output(0))
    images.output(0).set_names({PIXELS})
    names = (LOGITS, OOD_SCORE) if scored else (LOGITS,)
    return openvino.Model([model.output(name) for name in names], [images], model.get_friendly_name())


def _network_graph(graph: memoryview, card: Card, *, scored: bool) -> bytes:
    """Return a graph without the parts that are not the network, other than the score if it is wanted."""
    left_out = tuple(part for part in ADDED if not scored or part != LIMITS)
    size = ("batch", card.channels, *sides(card.resolution))
    ports = [(_INPUT, _port(PIXELS, _UINT8, size)), (_OUTPUT, _port(LOGITS, _FLOAT, ("batch", len(card.classes))))]
    if scored:
        ports.append((_OUTPUT, _port(OOD_SCORE, _FLOAT, ("batch",))))
    names = {_NODE: _NODE_NAME, _INITIALIZER: _TENSOR_NAME}
    kept: list[bytes | memoryview] = []
    for number, field, body in _fields(graph):
        if number in (_INPUT, _OUTPUT):
            continue
        if number not in names or not _name(body, names[number]).startswith(left_out):
            kept.append(field)
    return b"".join([*kept, *(_message(number, port) for number, port in ports)])


def _name(message: memoryview, wanted: int) -> str:
    return next((bytes(body).decode() for number, _, body in _fields(message) if number == wanted), "")


def _port(name: str, kind: int, shape: tuple[str | int, ...]) -> bytes:
    """Return a ValueInfoProto."""
    dims = [_message(2, size.encode()) if isinstance(size, str) else b"\x08" + _varint_bytes(size) for size in shape]
    tensor = b"\x08" + _varint_bytes(kind) + _message(2, b"".join(_message(1, dim) for dim in dims))
    return _message(1, name.encode()) + _message(2, _message(1, tensor))


def _replaced(field: memoryview, body: bytes) -> bytes:
    number, _ = _varint(field, 0)
    return _message(number >> 3, body)


def _message(number: int, body: bytes) -> bytes:
    return _varint_bytes(number << 3 | 2) + _varint_bytes(len(body)) + body


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield the number, the whole and the content of each field of a message."""
    place = 0
    while place < len(message):
        start = place
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            begin, (_, place) = place, _varint(message, place)
        else:
            length, place = _varint(message, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
            begin, place = place, place + length
        if place > len(message):
            raise ValueError("a field of a Protocol Buffers message is longer than the message")
        yield tag >> 3, message[start:place], message[begin:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return a number stored as seven bits a byte, the lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _varint_bytes(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])

"""LiteRT (TensorFlow Lite): files with the suffix .tflite, from uint8 images, `N x H x W x C`, to logits."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from convwright.arch.resolution import sides
from convwright.engines.card import Card
from convwright.engines.runner import Runner, cores
from convwright.errors import UsageError
from convwright.machine import silenced_native_errors

PACKAGE = "ai_edge_litert"
PIXELS, LOGITS = "images", "logits"
"""Names of the input and the output."""


def open_litert(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    """Load a .tflite file; see `convwright.engines.engine.Engine`."""
    if precision != "f32":
        raise UsageError(f"litert computes in f32 on a CPU, not in {precision}")
    return litert_runner(path.read_bytes(), threads, (len(card.classes), card.channels, *sides(card.resolution)))


def litert_runner(content: bytes, threads: int | None, expected: tuple[int, int, int, int] | None = None) -> Runner:
    """Return a function that runs a model.

    Args:
        content: The file's content.
        threads: Number of threads; None: as many as cores.
        expected: Number of classes, and channels, height and width of images that the model must have; None: any.

    Raises:
        ValueError: The model is damaged or does not have them.
    """
    from ai_edge_litert.interpreter import Interpreter

    def opened() -> Any:
        with silenced_native_errors():  # LiteRT reports each model that it loads
            return Interpreter(model_content=content, num_threads=threads or cores())

    first = opened()
    if expected is not None:
        _check_ports(first, expected)
    planned: dict[int, Any] = {}  # interpreters by the number of images that their memory is planned for

    def interpreter_for(count: int) -> Any:
        if count not in planned:
            # The first number of images keeps its interpreter, and all others share a second one.
            found = first if not planned else opened() if len(planned) == 1 else planned.popitem()[1]
            port = found.get_input_details()[0]
            found.resize_tensor_input(port["index"], [count, *port["shape"][1:]])
            with silenced_native_errors():
                found.allocate_tensors()
            planned[count] = found
        return planned[count]

    lock = threading.Lock()  # an interpreter has one input and one output

    def run(images: np.ndarray) -> np.ndarray:
        with lock:
            interpreter = interpreter_for(len(images))
            index = interpreter.get_input_details()[0]["index"]
            interpreter.set_tensor(index, np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
            interpreter.invoke()
            logits: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
            return logits

    return run


def _check_ports(interpreter: Any, expected: tuple[int, int, int, int]) -> None:
    classes, channels, height, width = expected
    ports = (*interpreter.get_input_details(), *interpreter.get_output_details())
    # The first dimension is the number of images, which quantizers record as 1.
    found = [(np.dtype(port["dtype"]).name, *(int(side) for side in port["shape"][1:])) for port in ports]
    right = [("uint8", height, width, channels), ("float32", classes)]
    if found != right:
        raise ValueError(f"its input and output are {found}, and its card requires {right}")

"""Exported files run as programs without Convwright run them: from an image of any size to every output."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from convwright.engines.card_reading import read_card
from convwright.engines.checksum import check_checksums
from convwright.engines.parts import IMAGE
from convwright.engines.runner import cores
from convwright.errors import UsageError
from convwright.extras import require_package

ImageRunner = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Takes an image, H x W x 3 uint8 of any size; returns the outputs of a file by name."""
ENGINES = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}
"""Engines that run whole files, by suffix."""


def open_whole(path: Path, engine: str, threads: int | None = None) -> ImageRunner:
    """Load a file whose input is an image of any size, with everything that it computes.

    Args:
        path: The exported file.
        engine: `onnxruntime` or `openvino`.
        threads: Number of threads; None: as many as cores.

    Raises:
        UsageError: The file is damaged, its input is a tensor, or the engine does not read it.
    """
    if engine not in ENGINES.get(path.suffix, ()):
        raise UsageError(f"{path}: {engine} does not run whole {path.suffix} files")
    require_package(engine, f"running {path.name}")
    card = read_card(path)
    check_checksums(path, card)
    if card.input != "image":
        raise UsageError(f"{path}: its input is a tensor; export the network again with `input` image")
    return _onnxruntime(path, threads or cores()) if engine == "onnxruntime" else _openvino(path, threads or cores())


def _onnxruntime(path: Path, threads: int) -> ImageRunner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return lambda image: dict(zip(names, session.run(names, {IMAGE: image[None]}), strict=True))


def _openvino(path: Path, threads: int) -> ImageRunner:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # the default, bfloat16 on some processors, ruins resized images
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    names = [port.get_any_name() for port in compiled.outputs]
    request = compiled.create_infer_request()

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        found = request.infer({IMAGE: image[None]})
        return {name: np.array(found[port]) for name, port in zip(names, compiled.outputs, strict=True)}

    return run

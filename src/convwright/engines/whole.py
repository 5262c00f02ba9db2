"""Exported files run as programs without Convwright run them: from their own input to every output."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from convwright.engines.card_reading import read_card
from convwright.engines.checksum import check_checksums
from convwright.engines.openvino_requests import OpenVinoRequests, is_quantized
from convwright.engines.parts import EXPLAINED_CLASS, IMAGE, PIXELS
from convwright.engines.runner import cores
from convwright.errors import UsageError
from convwright.extras import require_package
from convwright.machine import preserved_signal_stack

ENGINES = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}
"""Engines that run whole files, by suffix."""


class WholeRunner(Protocol):
    """Runs a file from its own input to all its outputs."""

    def __call__(self, images: np.ndarray, explained_class: int = -1) -> Mapping[str, np.ndarray]:
        """Return the outputs by name.

        Args:
            images: uint8, 1 x H x W x 3 of any size, or N x C x H x W at the network's resolution, as the card says.
            explained_class: Number of the class that is explained; -1: the predicted one.
        """


def open_whole(path: Path, engine: str, threads: int | None = None) -> WholeRunner:
    """Load a file with everything that it computes.

    Args:
        path: The exported file.
        engine: `onnxruntime` or `openvino`.
        threads: Number of threads; None: as many as cores.

    Raises:
        UsageError: The file is damaged, or the engine does not read it.
    """
    if engine not in ENGINES.get(path.suffix, ()):
        raise UsageError(f"{path}: {engine} does not run whole {path.suffix} files")
    require_package(engine, f"running {path.name}")
    check_checksums(path, read_card(path))
    return _onnxruntime(path, threads or cores()) if engine == "onnxruntime" else _openvino(path, threads or cores())


def _inputs(images: np.ndarray, names: list[str], explained_class: int) -> dict[str, np.ndarray]:
    others = {EXPLAINED_CLASS: np.array([explained_class], np.int64)} if EXPLAINED_CLASS in names else {}
    return {IMAGE if IMAGE in names else PIXELS: images, **others}


def _onnxruntime(path: Path, threads: int) -> WholeRunner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = [port.name for port in (*session.get_inputs(), *session.get_overridable_initializers())]
    outputs = [port.name for port in session.get_outputs()]

    def run(images: np.ndarray, explained_class: int = -1) -> Mapping[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, _inputs(images, inputs, explained_class)), strict=True))

    return run


def _openvino(path: Path, threads: int) -> WholeRunner:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # the default, bfloat16 on some processors, ruins resized images
    }
    core = openvino.Core()
    model = core.read_model(str(path))
    inputs = [port.get_any_name() for port in model.inputs]
    outputs = [port.get_any_name() for port in model.outputs]
    request: Any = None
    requests = None
    if IMAGE in inputs or not is_quantized(model):
        with preserved_signal_stack():
            request = core.compile_model(model, "CPU", settings).create_infer_request()
    else:
        requests = OpenVinoRequests(core, model, settings)

    def run(images: np.ndarray, explained_class: int = -1) -> Mapping[str, np.ndarray]:
        found = (requests.of(len(images)) if requests else request).infer(_inputs(images, inputs, explained_class))
        return {name: np.array(found[number]) for number, name in enumerate(outputs)}

    return run

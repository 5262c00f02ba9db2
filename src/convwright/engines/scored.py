"""Exported files with their out-of-distribution score: from images at the network's resolution to logits and scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from convwright.engines.card import Card
from convwright.engines.card_reading import read_card
from convwright.engines.openvino_requests import OpenVinoRequests
from convwright.engines.own import OWN_ENGINES
from convwright.engines.parts import LOGITS, OOD_SCORE, PIXELS, network_of_onnx, network_of_openvino
from convwright.engines.program import Connect, Mean
from convwright.engines.runner import cores
from convwright.engines.torch_file import OOD, read_torch_file
from convwright.errors import UsageError
from convwright.extras import installed
from convwright.stats.ood import OodModel, features_of_maps

ScoredRunner = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Computes logits, N x classes, and out-of-distribution scores, N, of uint8 images, N x C x H x W."""


def open_scored(path: Path, engine: str, threads: int | None = None) -> ScoredRunner | None:
    """Load a file with its out-of-distribution score. The file must have been opened in an engine before.

    Args:
        path: The exported file.
        engine: The engine that runs the network; for one of another package, Convwright's first one for the file.
        threads: Number of threads; None: as many as cores.

    Returns:
        The runner; None where no engine of Convwright's own that reads the file is installed.

    Raises:
        UsageError: The file is damaged.
    """
    able = [OWN_ENGINES[name] for name in _OPEN]
    names = [one.name for one in able if path.suffix in one.reads and installed(one.package)]
    if engine not in names and not names:
        return None
    open_it = _OPEN[engine if engine in names else names[0]]
    try:
        return open_it(path, read_card(path), threads)
    except (RuntimeError, ValueError, LookupError) as error:
        raise UsageError(f"{path}: its out-of-distribution score cannot be computed: {error}") from None


def _onnxruntime(path: Path, card: Card, threads: int | None) -> ScoredRunner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads or cores(), 3
    content = network_of_onnx(path.read_bytes(), card, scored=True)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, scores = session.run([LOGITS, OOD_SCORE], {PIXELS: images})
        return logits, scores

    return run


def _openvino(path: Path, card: Card, threads: int | None) -> ScoredRunner:
    import openvino

    core = openvino.Core()
    model = network_of_openvino(core.read_model(str(path)), card, scored=True)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or cores(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    requests = OpenVinoRequests(core, model, settings)

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found: Any = requests.of(len(images)).infer([images])
        return np.array(found[LOGITS]), np.array(found[OOD_SCORE])

    return run


def _torch(path: Path, card: Card, threads: int | None) -> ScoredRunner:
    program = read_torch_file(path, card)
    last = program.makers()[program.output]
    if not isinstance(last, Connect):
        raise ValueError("its network does not end in a linear layer")
    with safe_open(path, "numpy") as file:
        names = [name for name in file.keys() if name.startswith(OOD)]  # noqa: SIM118 - not a mapping
        ood = OodModel.from_arrays({name.removeprefix(OOD): file.get_tensor(name) for name in names})
    from convwright.engines.torch_program import torch_runner

    pooling = program.makers().get(last.inputs[0])
    of_maps = isinstance(pooling, Mean) and 2 * last.weight.shape[1] == ood.components.shape[1]
    left_out, value = ((last, pooling), pooling.inputs[0]) if pooling and of_maps else ((last,), last.inputs[0])
    before = tuple(op for op in program.ops if op not in left_out)
    read = torch_runner(replace(program, ops=before, output=value), threads, "f32")

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = read(images)
        if not of_maps:
            logits = features @ last.weight.T + last.bias
            return logits, ood.scores(features, logits)
        maps = features.reshape(-1, *program.shapes[value])
        logits = maps.mean((2, 3)) @ last.weight.T + last.bias
        return logits, ood.scores(features_of_maps(maps), logits)

    return run


_OPEN: dict[str, Callable[[Path, Card, int | None], ScoredRunner]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}

"""Convwright's own engines: ONNX Runtime, OpenVINO, torch, LiteRT, ExecuTorch; imported when needed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convwright.arch.resolution import sides
from convwright.engines.card import Card
from convwright.engines.engine import Engine, Open
from convwright.engines.executorch_file import PACKAGE as EXECUTORCH
from convwright.engines.executorch_file import open_executorch
from convwright.engines.litert import PACKAGE as LITERT
from convwright.engines.litert import open_litert
from convwright.engines.onnxruntime_gpu import CUDA, TENSORRT, Provider, lacks_cuda, lacks_tensorrt, name_of
from convwright.engines.openvino_requests import OpenVinoRequests
from convwright.engines.parts import network_of_onnx, network_of_openvino
from convwright.engines.runner import Runner, cores
from convwright.errors import UsageError


def _onnxruntime(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    if precision != "f32":
        raise UsageError(f"onnxruntime computes in f32 on a CPU, not in {precision}")
    return onnxruntime_runner(path, card, threads, ("CPUExecutionProvider",))


def onnxruntime_runner(path: Path, card: Card, threads: int | None, providers: Sequence[Provider]) -> Runner:
    """Load an .onnx file into ONNX Runtime.

    Args:
        path: The file.
        card: Its card.
        threads: Number of threads; None: as many as cores.
        providers: ONNX Runtime's execution providers; operations that the first one does not support run in the others.

    Raises:
        UsageError: ONNX Runtime could not start the first provider.
        ValueError: The network does not fit the card.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    source = network_of_onnx(path.read_bytes(), card) if not card.network_alone else str(path)
    session = onnxruntime.InferenceSession(source, options, providers=[*providers])
    wanted, started = name_of(providers[0]), session.get_providers()[0]
    if started != wanted:  # ONNX Runtime goes on without a provider that fails
        raise UsageError(f"{path}: {wanted} did not start, and ONNX Runtime would use {started}")
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    images, logits = (
        (kinds.get(ports[0].type), len(ports), *ports[0].shape[1:])
        for ports in (session.get_inputs(), session.get_outputs())
    )
    _check_ports(card, images, logits)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _cuda(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    if precision != "f32":
        raise UsageError(f"onnxruntime-cuda computes in f32 here, not in {precision}")
    return onnxruntime_runner(path, card, threads, CUDA)


def _tensorrt(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    if precision != "f32":
        raise UsageError(f"tensorrt computes in f32 here, not in {precision}")
    return onnxruntime_runner(path, card, threads, TENSORRT)


def _on_gpu(name: str, open: Open, lacks: Callable[[], str]) -> Engine:
    return Engine(name, "onnxruntime", (".onnx",), open, ("f32", "int8"), lacks, by_default=False, device="cuda")


def _openvino(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    if not card.network_alone:
        model = network_of_openvino(model, card)
    kinds = {"u8": "uint8", "f32": "float32"}
    images, logits = (
        (
            kinds.get(ports[0].get_element_type().get_type_name()),
            len(ports),
            *(size.get_length() for size in list(ports[0].get_partial_shape())[1:]),
        )
        for ports in (model.inputs, model.outputs)
    )
    _check_ports(card, images, logits)
    return openvino_runner(core, model, threads, precision, verified="openvino" in card.verified.engines)


def openvino_runner(core: Any, model: Any, threads: int | None, precision: str, *, verified: bool = True) -> Runner:
    """Compile an OpenVINO model for the lowest latency, when the first images arrive; see `OpenVinoRequests`.

    Args:
        core: OpenVINO's `Core`.
        model: Model to compile.
        threads: Number of threads; None: as many as cores.
        precision: `f32` or `bf16`.
        verified: Whether an export has run the model in OpenVINO.
    """
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or cores(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    requests = OpenVinoRequests(core, model, settings, verified=verified)

    def run(images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = requests.of(len(images)).infer([images], share_inputs=True)[0]
        return logits

    return run


def _torch(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    from convwright.engines.torch_file import read_torch_file

    program = read_torch_file(path, card)  # a damaged file is reported before torch is imported, which takes a second
    from convwright.engines.torch_program import torch_runner

    return torch_runner(program, threads, precision)


def _check_ports(card: Card, images: tuple[object, ...], logits: tuple[object, ...]) -> None:
    """Check the inputs and outputs of a network against its card.

    Args:
        card: Card of the file.
        images: Type of the input's numbers, number of inputs, and the input's shape without the batch.
        logits: The same of the output.

    Raises:
        ValueError: They do not fit the card.
    """
    expected = ("uint8", 1, card.channels, *sides(card.resolution)), ("float32", 1, len(card.classes))
    for name, found, right in zip(("input", "output"), (images, logits), expected, strict=True):
        if found != right:
            raise ValueError(f"its {name} is {_port(found)}, and its card requires {_port(right)}")


def _port(described: tuple[object, ...]) -> str:
    """Return the description of inputs or outputs in words: their type, number, and shape without the batch."""
    kind, count, *shape = described
    return f"{count} {kind} array{'' if count == 1 else 's'} of {' x '.join(map(str, ['N', *shape]))}"


OWN_ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("onnxruntime", "onnxruntime", (".onnx",), _onnxruntime, ("f32", "int8")),
        Engine("openvino", "openvino", (".xml", ".onnx"), _openvino, ("f32", "bf16", "int8")),
        Engine("torch", "torch", (".safetensors",), _torch, ("f32", "bf16")),
        Engine("litert", LITERT, (".tflite",), open_litert, ("f32", "int8")),
        _on_gpu("onnxruntime-cuda", _cuda, lacks_cuda),
        _on_gpu("tensorrt", _tensorrt, lacks_tensorrt),
        Engine("executorch", EXECUTORCH, (".pte",), open_executorch, ("f32", "int8")),
    )
}

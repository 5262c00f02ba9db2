"""What can run a network: one registry, from which `export`, `bench`, `predict` and `scale plan` take their engines.

No torch in here, and an engine's package is only imported when the engine is used.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convwright.deploy.card import KEY, UNSEALED, Card
from convwright.deploy.card_reading import read_card
from convwright.deploy.packages import installed, needed
from convwright.errors import ConvwrightError, UsageError
from convwright.files import digest, digest_of

Runner = Callable[[np.ndarray], np.ndarray]
"""Takes uint8 images, N x C x H x W; gives float32 logits, N x classes."""
PRECISIONS = ("f32", "bf16")
"""In which engines compute; what is quantized is so in the file."""
WEIGHTS = {".xml": ".bin"}
"""Suffix of the file that holds the weights of another."""


@dataclass(frozen=True)
class Loaded:
    """An exported file in an engine: how to run it, and what it says of itself."""

    run: Runner
    card: Card


@dataclass(frozen=True)
class FileEngine:
    """An engine that runs exported files."""

    name: str
    package: str
    """What is imported, and what pip installs."""
    reads: tuple[str, ...]
    """Suffixes of files."""
    open: Callable[[Path, int | None, str], Loaded]
    """Load a file, for so many threads (None: the engine's choice), to compute in a precision."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_bf16() -> bool:
    """Has the processor instructions for bfloat16? As far as the system tells."""
    with suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags
    return False


def open_file(path: Path, engine: str | None = None, threads: int | None = None, precision: str = "f32") -> Loaded:
    """Load an exported file into an engine, by default the quickest that it was verified with and that is at hand.

    Raises UsageError where there is no such file or engine, or where the file is none of ours.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    able = [one for one in FILE_ENGINES.values() if path.suffix in one.reads]
    if not able:
        raise UsageError(f"{path}: an exported network ends in {', '.join(sorted(SUFFIXES))}")
    if engine is not None:
        chosen = _named(engine)
        if chosen not in able:
            raise UsageError(f"{chosen.name} does not read {path.suffix} files; {_listed(able)}")
        return _opened(chosen, path, threads, precision)
    there = [one for one in able if installed(one.package)]
    if not there:
        needed(able[0].package, f"{path.name}")
    card = read_card(path)
    best = quickest(card.verified, [one.name for one in there]) if card else None
    return _opened(FILE_ENGINES[best or there[0].name], path, threads, precision)


def quickest(verified: Mapping[str, Any], engines: list[str]) -> str | None:
    """Return the engine of these that agreed at export and took least time then; None if nothing is known."""
    known = verified.get("engines", {})
    times = {name: known[name].get("milliseconds", float("inf")) for name in engines if name in known}
    return min(times, key=lambda name: times[name]) if times else None


def _named(name: str) -> FileEngine:
    if name not in FILE_ENGINES:
        raise UsageError(f"no engine {name!r} runs exported files; there are {', '.join(FILE_ENGINES)}")
    return FILE_ENGINES[name]


def _opened(engine: FileEngine, path: Path, threads: int | None, precision: str) -> Loaded:
    needed(engine.package, f"running {path.name}")
    _check_weights(path)
    try:
        return engine.open(path, threads, precision)
    except ConvwrightError:
        raise
    except Exception as error:  # every engine has errors of its own for a damaged file or an unknown operation
        lines = (line.strip() for line in str(error).splitlines())
        # OpenVINO begins with the place in its own source.
        why = next((line for line in lines if line and not line.startswith("Exception from ")), type(error).__name__)
        raise UsageError(f"{path}: {engine.name} cannot run it: {why:.200}") from None


def _card(text: str | None, path: Path) -> Card:
    if not text:
        raise UsageError(f"{path}: not a file that 'convwright export' wrote: it does not say how images are prepared")
    return Card.from_json_text(text, path)


def _onnxruntime(path: Path, threads: int | None, precision: str) -> Loaded:
    import onnxruntime

    _only_f32("onnxruntime", precision)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    card = _card(session.get_modelmeta().custom_metadata_map.get(KEY), path)
    name = session.get_inputs()[0].name
    return Loaded(lambda images: session.run(None, {name: images})[0], card)


def _openvino(path: Path, threads: int | None, precision: str) -> Loaded:
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    card = _card(openvino_card(model), path)
    return Loaded(openvino_runner(core, model, threads, precision), card)


def _check_weights(path: Path) -> None:
    """UsageError if a file's weights are not there, or not those that it was written with."""
    weights = path.with_suffix(WEIGHTS.get(path.suffix, path.suffix))
    if not weights.is_file():
        raise UsageError(f"{path}: its weights are not beside it: there is no {weights.name}")
    card = read_card(path)
    if not card or not card.weights:
        return
    if weights == path:
        if card.weights != seal(path.read_bytes(), card.weights):
            raise UsageError(f"{path}: damaged: it does not hold what it was written with; export it again")
    elif card.weights != digest(weights):
        raise UsageError(f"{path}: {weights.name} holds other weights than those it was written with; export it again")


def seal(content: bytes, written: str) -> str:
    """Return the digest of a file's content while its card said `UNSEALED` where it says `written`."""
    return digest_of(content.replace(written.encode(), UNSEALED.encode(), 1))


def openvino_card(model: Any) -> str | None:
    """Return the text of the card in an OpenVINO model that was read from .xml or .onnx; None without one."""
    for place in ([KEY], ["framework", KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).astype(str))
    return None


def openvino_runner(core: Any, model: Any, threads: int | None, precision: str) -> Runner:
    """Compile an OpenVINO model for the least latency, when the first images come.

    It is compiled for as many images as these: where the size of a batch is open, OpenVINO plans shapes and memory anew
    in every run. Other sizes share a second one that takes any.
    """
    how = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or cores(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    requests: dict[int | None, Any] = {}

    def compiled(count: int | None) -> Any:
        fixed = model.clone()
        if count is not None:
            fixed.reshape([count, *(size.get_length() for size in list(model.input(0).partial_shape)[1:])])
        return core.compile_model(fixed, "CPU", how).create_infer_request()

    def run(images: np.ndarray) -> np.ndarray:
        key = len(images) if not requests or len(images) in requests else None
        if key not in requests:
            requests[key] = compiled(key)
        return requests[key].infer([images], share_inputs=True)[0]

    return run


def _torch(path: Path, threads: int | None, precision: str) -> Loaded:
    from convwright.deploy.torch_file import read_torch_file

    program, card = read_torch_file(path)
    from convwright.deploy.torch_program import torch_runner

    return Loaded(torch_runner(program, threads, precision), card)


def _only_f32(engine: str, precision: str) -> None:
    if precision != "f32":
        raise UsageError(f"{engine} computes in f32 on a CPU, not in {precision}")


FILE_ENGINES: dict[str, FileEngine] = {
    engine.name: engine
    for engine in (
        FileEngine("onnxruntime", "onnxruntime", (".onnx",), _onnxruntime),
        FileEngine("openvino", "openvino", (".xml", ".onnx"), _openvino),
        FileEngine("torch", "torch", (".safetensors",), _torch),
    )
}
SUFFIXES = frozenset(suffix for engine in FILE_ENGINES.values() for suffix in engine.reads)


def _listed(engines: list[FileEngine]) -> str:
    names = [engine.name for engine in engines]
    return f"{' and '.join(names)} {'does' if len(names) == 1 else 'do'}"

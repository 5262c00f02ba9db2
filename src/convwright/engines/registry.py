"""What can run a network: one registry, from which `export`, `bench`, `predict` and `scale plan` take their engines.

No torch in here, and an engine's package is only imported when the engine is used.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convwright.engines.card import DIGEST_PLACEHOLDER, FIRST_VERSION, Card
from convwright.engines.card_reading import read_card
from convwright.engines.runner import Runner, cores
from convwright.errors import ConvwrightError, ConvwrightWarning, UsageError
from convwright.extras import installed, require_package
from convwright.files import digest, digest_of

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
    open: Callable[[Path, Card, int | None, str], Runner]
    """Load a file with this card, for so many threads (None: the engine's choice), to compute in a precision."""


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
        require_package(able[0].package, f"{path.name}")
    best = fastest_engine(read_card(path).verified, [one.name for one in there])
    return _opened(FILE_ENGINES[best or there[0].name], path, threads, precision)


def fastest_engine(verified: Mapping[str, Any], engines: list[str]) -> str | None:
    """Return the engine of these that agreed at export and took least time then; None if nothing is known."""
    known = verified.get("engines", {})
    times = {name: known[name]["milliseconds"] for name in engines if name in known}
    return min(times, key=lambda name: times[name]) if times else None


def _named(name: str) -> FileEngine:
    if name not in FILE_ENGINES:
        raise UsageError(f"no engine {name!r} runs exported files; there are {', '.join(FILE_ENGINES)}")
    return FILE_ENGINES[name]


def _opened(engine: FileEngine, path: Path, threads: int | None, precision: str) -> Loaded:
    require_package(engine.package, f"running {path.name}")
    card = read_card(path)
    check_file_digest(path, card)
    try:
        run = engine.open(path, card, threads, precision)
    except ConvwrightError:
        raise
    except Exception as error:  # every engine has errors of its own for a damaged file or an unknown operation
        raise UsageError(f"{path}: {engine.name} cannot run it: {_reason(error)}") from None

    def guarded(images: np.ndarray) -> np.ndarray:
        try:
            return run(images)
        except ConvwrightError:
            raise
        except Exception as error:  # OpenVINO compiles a model only when it sees the number of images
            raise ConvwrightError(f"{path}: {engine.name} cannot run it: {_reason(error)}") from None

    return Loaded(guarded, card)


def _reason(error: Exception) -> str:
    """Return the first line of an engine's error that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    # OpenVINO begins with the place in its own source.
    why = next((line for line in lines if line and not line.startswith("Exception from ")), type(error).__name__)
    return f"{why:.200}"


def check_file_digest(path: Path, card: Card) -> None:
    """Check that an exported file, and the file of its weights where that is another, is as it was written.

    Raises:
        UsageError: A bit of it has changed, it cannot be read, or the weights are missing or of another export.
    """
    weights = path.with_suffix(WEIGHTS[path.suffix]) if path.suffix in WEIGHTS else None
    if weights is not None and not weights.is_file():
        raise UsageError(f"{path}: its weights are not beside it: there is no {weights.name}")
    try:
        if card.version == FIRST_VERSION:
            sound, same_weights = _sound_without_seal(path, card, weights)
        else:
            sound = bool(card.seal) and card.seal == file_digest(path.read_bytes(), card.seal)
            same_weights = card.weights == ("" if weights is None else digest(weights))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not sound:
        raise UsageError(f"{path}: its checksum is wrong, so it is damaged or was edited; export it again")
    if not same_weights:
        name = path.name if weights is None else weights.name
        raise UsageError(f"{path}: {name} belongs to another export; export it again")


def _sound_without_seal(path: Path, card: Card, weights: Path | None) -> tuple[bool, bool]:
    """Return whether a file of the first format, and its weights, are as written, as far as that can be known."""
    if weights is None:
        return not card.weights or card.weights == file_digest(path.read_bytes(), card.weights), True
    warnings.warn(
        f"{path}: exported by an earlier version, which checks only {weights.name}; export it again to check both",
        ConvwrightWarning,
        stacklevel=2,
    )
    return True, not card.weights or card.weights == digest(weights)


def file_digest(content: bytes, written: str) -> str:
    """Return the digest of a file's content while its card said `DIGEST_PLACEHOLDER` where it says `written`."""
    place = content.find(written.encode())
    if place < 0 or not written:
        return digest_of(content)
    whole = memoryview(content)  # a copy of a large file would take as long as its digest
    return digest_of(whole[:place], DIGEST_PLACEHOLDER.encode(), whole[place + len(written) :])


def _check_ports(card: Card, images: tuple[object, ...], logits: tuple[object, ...]) -> None:
    """Check the inputs and outputs of a network against its card.

    Args:
        card: Card of the file.
        images: Type of the input's numbers, number of inputs, and the input's shape without the batch.
        logits: The same of the output.

    Raises:
        ValueError: They do not fit the card.
    """
    expected = ("uint8", 1, card.channels, card.resolution, card.resolution), ("float32", 1, len(card.classes))
    for name, found, right in zip(("input", "output"), (images, logits), expected, strict=True):
        if found != right:
            raise ValueError(f"its {name} is {_port(found)}, and its card requires {_port(right)}")


def _port(described: tuple[object, ...]) -> str:
    """Return the description of inputs or outputs in words: their type, number, and shape without the batch."""
    kind, count, *shape = described
    return f"{count} {kind} array{'' if count == 1 else 's'} of {' x '.join(map(str, ['N', *shape]))}"


def _onnxruntime(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    import onnxruntime

    _only_f32("onnxruntime", precision)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    images, logits = (
        (kinds.get(ports[0].type), len(ports), *ports[0].shape[1:])
        for ports in (session.get_inputs(), session.get_outputs())
    )
    _check_ports(card, images, logits)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _openvino(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
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
    return openvino_runner(core, model, threads, precision)


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


def _torch(path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    from convwright.engines.torch_file import read_torch_file

    program = read_torch_file(path, card)
    from convwright.engines.torch_program import torch_runner

    return torch_runner(program, threads, precision)


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

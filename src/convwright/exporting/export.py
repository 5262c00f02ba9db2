"""Exporting: write a file in a folder of its own, hold it to the original, and only then give it its name."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from convwright.engines.card import DIGEST_PLACEHOLDER, KEY, PENDING, Card
from convwright.engines.registry import FILE_ENGINES, WEIGHTS, open_file
from convwright.engines.torch_file import torch_file
from convwright.errors import ConvwrightError, NotFiniteError, UsageError
from convwright.exporting.agreement import Agreement, Check, compare, logits_of
from convwright.exporting.onnx_writer import OPSET, check_opset, onnx_model, put_card
from convwright.exporting.quantization import Calibration, Kept, check_quantizer, quantized
from convwright.exporting.subject import Subject
from convwright.extras import installed, require_package
from convwright.files import digest, digest_of, temporary_beside, write_atomically, write_bytes
from convwright.timing import median_seconds

FORMATS = {"onnx": ".onnx", "openvino": ".xml", "torch": ".safetensors"}
"""What can be written, and how such files end."""
RUNS_FOR_TIME = 9
FEW = 4
"""Images on which the file is verified once more as it will be published, one at a time."""
OPERATION_BYTES = 2**14
"""What OpenVINO writes of an operation, its weights aside, is shorter than this."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written, and how well it agrees with the original in each engine that could be asked."""

    path: Path
    files: tuple[Path, ...]
    card: Card
    agreements: dict[str, Agreement]
    bytes: int
    kept: Kept | None = None
    """What quantization left in float, and why."""
    problems: dict[str, str] = field(default_factory=dict)
    """Engines at hand that could not run the file, and why; they never open it by default."""


@dataclass(frozen=True)
class Draft:
    """A model in memory: how to write it with a card."""

    content: Callable[[Path, Card], bytes]
    """Return the content of the file at a path; what belongs beside it (OpenVINO's .bin) is written there."""
    card: Card
    kept: Kept | None = None


def export(
    subject: Subject,
    out: Path,
    format: str,
    check: Check,
    *,
    opset: int | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda _: None,
) -> Exported:
    """Export a network to a file, verified on images in every engine at hand that reads it.

    calibration: quantize to 8 bits with these images. Raises UsageError for what cannot be done, ConvwrightError where
    the file does not agree with the network; then nothing is written.
    """
    check_possible(format, opset, int8=calibration is not None)
    if out.suffix != FORMATS[format]:
        raise UsageError(f"--out {out}: a file in the format {format} ends in {FORMATS[format]}")
    engines = _engines(FORMATS[format])
    _ = subject.program  # what cannot be written is told before anything is run
    with _workspace(out) as folder:
        progress("running the network as it was trained")
        expected = logits_of(subject.reference, check.images)
        progress("writing")
        made = draft(subject, format, opset, calibration, folder, progress)
        path = folder / out.name
        write_sealed(made, path, made.card)
        trials, problems = _tried(path, out, engines, check, progress)
        agreements = {name: compare(expected, trial.logits, check.labels) for name, trial in trials.items()}
        _judge(agreements, made, out)
        card = _verified(made.card, check, agreements, trials)
        card = write_sealed(made, path, card)
        progress("reading what was written")
        for name, trial in trials.items():
            _read_again(path, out, name, check, expected[:FEW] if made.kept is None else trial.singly)
        files = _publish(folder, out)
    return Exported(out, files, card, agreements, sum(file.stat().st_size for file in files), made.kept, problems)


def check_possible(format: str, opset: int | None, *, int8: bool) -> None:
    """UsageError for a format that cannot be written as it is asked for, or whose packages are missing."""
    if format not in FORMATS:
        raise UsageError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    if format == "torch":
        if opset is not None:
            raise UsageError("the format torch has no opset")
        if int8:
            raise UsageError("--int8 is for the formats onnx and openvino")
        return
    check_opset(OPSET if opset is None else opset)
    require_package("onnx", "writing ONNX files" if format == "onnx" else "the format openvino")
    if format == "openvino":
        require_package("openvino", "the format openvino")
    if int8:
        check_quantizer(format)


@dataclass(frozen=True, eq=False)
class Trial:
    """What an engine made of a file."""

    logits: np.ndarray
    singly: np.ndarray
    """Logits of the first few images, one image at a time."""
    milliseconds: float
    """For one image, in as many threads as there are cores."""


def _tried(
    path: Path, out: Path, engines: list[str], check: Check, progress: Progress
) -> tuple[dict[str, Trial], dict[str, str]]:
    """Run a file in every engine; return also why some could not. ConvwrightError if none could."""
    trials, problems = {}, {}
    for name in engines:
        progress(f"verifying with {name}")
        try:
            trials[name] = _trial(path, name, check)
        except NotFiniteError as error:
            raise ConvwrightError(f"{out} was not written: with engine {name}, {error}") from None
        except Exception as error:  # every engine has errors of its own, and what one cannot run another may
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            problems[name] = first.replace(str(path), str(out))[:300]
    if not trials:
        raise ConvwrightError(f"{out} was not written: {'; '.join(problems.values())}")
    return trials, problems


def _trial(path: Path, engine: str, check: Check) -> Trial:
    run = open_file(path, engine).run
    logits, singly = logits_of(run, check.images), logits_of(run, check.images[:FEW], 1)
    return Trial(logits, singly, 1000 * median_seconds(lambda: run(check.images[:1]), at_least=RUNS_FOR_TIME))


def _read_again(path: Path, out: Path, engine: str, check: Check, expected: np.ndarray) -> None:
    """ConvwrightError if the file as it will be published does not answer a few images, one at a time, as expected."""
    again = logits_of(open_file(path, engine).run, check.images[:FEW], 1)
    if not compare(expected, again, None).sound:
        raise ConvwrightError(f"{out} was not written: read again, and image by image, {engine} answers otherwise")


def _engines(suffix: str) -> list[str]:
    """Return the engines at hand that read such files. UsageError if there is none to verify with."""
    able = [engine for engine in FILE_ENGINES.values() if suffix in engine.reads]
    there = [engine.name for engine in able if installed(engine.package)]
    if not there:
        require_package(able[0].package, f"verifying a {suffix} file")
    return there


def draft(
    subject: Subject,
    format: str,
    opset: int | None,
    calibration: Calibration | None,
    folder: Path,
    progress: Progress = lambda _: None,
) -> Draft:
    """Return a network in a format, in 8 bits if images to calibrate on are given; the folder is for scraps."""
    if format == "torch":
        program = subject.eager_program
        return Draft(lambda _, card: torch_file(program, card), subject.card)
    model = onnx_model(subject.program, subject.card, OPSET if opset is None else opset)
    if format == "onnx":
        card, kept = subject.card, None
        if calibration is not None:
            model, kept = quantized(model, "onnx", calibration, folder, progress)
            card = replace(card, precision="int8")
        return Draft(lambda _, card: _onnx_file(model, card), card, kept)
    openvino = require_package("openvino", "the format openvino")
    del model.metadata_props[:]  # OpenVINO would keep this card beside the one that is verified
    converted, card, kept = _read_openvino(openvino, model), subject.card, None
    if calibration is not None:
        converted, kept = quantized(converted, "openvino", calibration, folder, progress)
        card = replace(card, precision="int8")
    return Draft(lambda path, card: _openvino_file(openvino, converted, card, path), card, kept)


def _read_openvino(openvino: Any, model: Any) -> Any:
    import io

    return openvino.Core().read_model(io.BytesIO(model.SerializeToString()))


def _onnx_file(model: Any, card: Card) -> bytes:
    put_card(model, card)
    content: bytes = model.SerializeToString()
    return content


def _openvino_file(openvino: Any, model: Any, card: Card, path: Path) -> bytes:
    """Write the weights beside a path and return the content of the file itself."""
    model.set_rt_info(card.to_json_text(), [KEY])
    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:
        ops = model.get_ordered_ops()
        weights = sum(op.get_byte_size() for op in ops if op.get_type_name() == "Constant")
        # OpenVINO does not say why; the system says it when as many bytes are written once more.
        write_bytes(path, bytes(weights + len(ops) * OPERATION_BYTES))
        raise ConvwrightError(f"{path} could not be written: {error}") from None
    return path.read_bytes()


def _judge(agreements: dict[str, Agreement], draft: Draft, out: Path) -> None:
    """ConvwrightError for the first engine that does not agree with the network."""
    for name, agreement in agreements.items():
        if draft.kept is None and not agreement.sound:
            raise ConvwrightError(
                f"{out} was not written: in {name} its logits differ from the network's by up to "
                f"{agreement.difference:.2g} of an image's largest, and {agreement.changed:.1%} of the answers, "
                f"on {agreement.images} images"
            )
        if draft.kept is not None and (why := draft.kept.refusal(agreement)):
            raise ConvwrightError(f"{out} was not written: in {name} {why}")


def _verified(card: Card, check: Check, agreements: dict[str, Agreement], trials: dict[str, Trial]) -> Card:
    told = {
        name: agreements[name].facts() | {"milliseconds": round(trial.milliseconds, 3), "threads": "all"}
        for name, trial in trials.items()
    }
    verified = card.verified | {"on": check.told, "images": len(check.images), "engines": told}
    return replace(card, verified=verified)


def write_sealed(made: Draft, path: Path, card: Card) -> Card:
    """Write a file whose card has digests of it and of its weights, so that damage is noticed.

    Args:
        made: The network in the file's format.
        path: File to write, in a folder that nobody else uses.
        card: Card without digests.

    Returns:
        The card as it stands in the file.

    Raises:
        ConvwrightError: The file could not be written.
    """
    weights = path.with_suffix(WEIGHTS[path.suffix]) if path.suffix in WEIGHTS else None
    content = made.content(path, replace(card, weights=PENDING if weights else "", seal=DIGEST_PLACEHOLDER))
    for name in (DIGEST_PLACEHOLDER, PENDING) if weights else (DIGEST_PLACEHOLDER,):
        if content.count(name.encode()) != 1:
            raise UsageError(f"{path}: no class and no layer can be named {name!r}; rename it")
    if weights:
        card = replace(card, weights=digest(weights))
        content = content.replace(PENDING.encode(), card.weights.encode())
    card = replace(card, seal=digest_of(content))
    write_bytes(path, content.replace(DIGEST_PLACEHOLDER.encode(), card.seal.encode()))
    return card


@contextmanager
def _workspace(out: Path) -> Iterator[Path]:
    """Yield a new folder beside the file to be; it is gone afterwards, and errors name the file instead."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name a file in it")
    folder = temporary_beside(out)
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise ConvwrightError(f"{out} could not be written: {error.strerror or error}") from None
    except ConvwrightError as error:
        named = str(error).replace(str(folder / out.name), str(out))
        raise type(error)(named.replace(str(folder / out.stem), str(out.with_suffix("")))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, out: Path) -> tuple[Path, ...]:
    """Move the file to its name, and what belongs to it first (OpenVINO keeps its weights in a .bin beside).

    Whenever this is interrupted, the file that is there has its own weights beside it, or a digest of others.
    """
    made = [path for path in folder.iterdir() if path.name.startswith(f"{out.stem}.")]
    ordered = sorted(made, key=lambda path: path.name == out.name)
    for path in ordered:
        write_atomically(out.with_name(path.name), partial(shutil.move, path))
    with suppress(OSError):  # not every system opens folders
        handle = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return tuple(out.with_name(path.name) for path in ordered)


def as_json(exported: Exported) -> dict[str, Any]:
    """Return what was exported for JSON."""
    card = asdict(exported.card)
    return {
        "file": str(exported.path),
        "files": [str(path) for path in exported.files],
        "bytes": exported.bytes,
        "network": card["network"],
        "precision": card["precision"],
        "verified": card["verified"],
        "kept_in_float": list(exported.kept.layers) if exported.kept else [],
        "problems": exported.problems,
    }

"""Exporting: write a file into a folder of its own, verify it, and only then give it its name."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from convwright.engines.executorch_file import PACKAGE as EXECUTORCH
from convwright.engines.litert import PACKAGE as LITERT
from convwright.engines.program import Program
from convwright.errors import ArgumentError, ConvwrightError, WriteError
from convwright.exporting.agreement import CheckImages, logits_of
from convwright.exporting.coreml_export import export_coreml
from convwright.exporting.coreml_writer import load_tools
from convwright.exporting.explanation import Explained, explained, map_output
from convwright.exporting.image_input import why_not
from convwright.exporting.limits_outputs import limits_of_file, limits_outputs, verified_score
from convwright.exporting.onnx_writer import OPSET, check_opset
from convwright.exporting.quantization import Calibration, check_quantizer
from convwright.exporting.result import ExportResult
from convwright.exporting.subject import Subject
from convwright.exporting.verification import installed_readers, verify, verify_again, with_record
from convwright.exporting.whole_verification import verify_whole
from convwright.exporting.writing import (
    FORMATS,
    NETWORK_ALONE,
    TRAILED,
    Draft,
    Progress,
    draft,
    with_parts,
    write_draft,
)
from convwright.extras import require_package
from convwright.files import temporary_beside, write_atomically
from convwright.prediction.network import Predictor
from convwright.prediction.stored_limits import NetworkLimits
from convwright.stats.limits import Limits
from convwright.stats.ood import OodModel

IN_FLOAT = ("torch", "coreml")
"""Formats without 8 bits."""
Input = Literal["image", "tensor"]
"""What a file takes: an image of any size, or a batch of images at the network's resolution."""


def export(
    subject: Subject,
    out: Path,
    format: str,
    check: CheckImages,
    *,
    input: Input = "tensor",
    explain: bool = False,
    limits: NetworkLimits | None = None,
    opset: int | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda _: None,
) -> ExportResult:
    """Export a network to a file that is verified in every installed engine that reads it.

    Args:
        subject: The network.
        out: The file; it is replaced if it exists.
        format: One of `FORMATS`.
        check: Images to verify on.
        input: What the file takes: `image`, one of any size, or `tensor`, a batch at the network's resolution.
        explain: Add the activation map of the predicted class, or of a given one, as an output.
        limits: Temperature and thresholds of the network, and the model of its out-of-distribution score; they become
            outputs of the file. None: it has no such outputs.
        opset: ONNX opset, 13 to 22; None: 17.
        calibration: Images to calibrate 8 bits on; None: the network stays in float.
        progress: Gets a description of each step.

    Returns:
        The files, and how well each engine agrees with the network.

    Raises:
        UsageError: The export is not possible, or a package for it is missing.
        ConvwrightError: The file does not agree with the network, or could not be written; nothing is replaced.
    """
    check_possible(format, opset, int8=calibration is not None)
    if input == "image" and (reason := why_no_image_input(subject.predictor, format)):
        raise ArgumentError("input", f"images of any size are not possible: {reason}; use tensor")
    if explain and format in NETWORK_ALONE:
        raise ArgumentError("explain", f"the format {format} has no further outputs; use onnx or openvino")
    check_suffix(format, out)
    if format == "coreml":
        return export_coreml(subject, out, check, limits=limits and limits[0], progress=progress)
    installed_readers(FORMATS[format])
    _ = subject.program  # a network that cannot be written is reported before anything runs
    found = explained(subject) if explain else None
    with _workspace(out) as folder:
        progress("running the network as it was trained")
        expected = logits_of(subject.reference, check.images)
        progress("writing")
        made = draft(subject, format, folder=folder, opset=opset, calibration=calibration, progress=progress)
        path = folder / out.name
        write_draft(made, path, made.card)
        verified = verify(path, out, check, expected, made.float_layers, progress)
        whole = partial(_whole, made, subject.program, found, image=input == "image")
        fitted = limits and limits_of_file(limits, check, verified, quantized=calibration is not None)
        known, ood = fitted or (None, None)
        if known is not None and (ood is None or format in TRAILED):
            known, ood = replace(known, ood_score=None, ood_rule=None), None
        made = whole(known, ood)
        if known is not None and ood is not None:
            progress("verifying the out-of-distribution score")
            write_draft(made, path, made.card)
            known = verified_score(path, subject.predictor, ood, known, check, [*verified.runs])
            made = whole(known, None if known.ood_score is None else ood)
        if not made.card.network_alone:
            write_draft(made, path, made.card)
            progress("verifying the whole file")
            verified = verify_whole(path, out, subject.predictor, found, check, verified)
        card = write_draft(made, path, with_record(made.card, check, verified, made.float_layers))
        progress("reading what was written")
        verify_again(path, out, verified, check, expected, made.float_layers)
        files = _publish(folder, out)
    size = sum(file.stat().st_size for file in files)
    return ExportResult(
        out, files, card, verified.agreements, size, made.float_layers, verified.problems, source=subject.source
    )


def _whole(
    network: Draft,
    program: Program,
    found: Explained | None,
    limits: Limits | None,
    ood: OodModel | None,
    *,
    image: bool,
) -> Draft:
    """Return a network with an image as its input, with its activation map, and with what it does not know."""
    made = replace(network, card=replace(network.card, limits=limits), ood=ood)
    if made.format in NETWORK_ALONE:
        return made
    parts = [map_output(found)] if found else []
    parts += [limits_outputs(limits, program, ood)] if limits else []
    return with_parts(made, parts, image=image) if image or parts else made


def check_possible(format: str, opset: int | None, *, int8: bool) -> None:
    """Check that a format can be written with these options.

    Raises:
        UsageError: The format does not exist or lacks the option, or a package is missing.
    """
    if format not in FORMATS:
        raise ArgumentError("format", f"must be {' or '.join(FORMATS)}, not {format!r}")
    if opset is not None and format != "onnx":
        raise ArgumentError("opset", f"only the format onnx has an opset, and this file is in the format {format}")
    if format in IN_FLOAT:
        if int8:
            raise ArgumentError(
                "int8", f"the format {format} does not support int8; use onnx, openvino, litert or executorch"
            )
        if format == "coreml":
            load_tools()
        return
    if format in TRAILED:
        require_package(LITERT if format == "litert" else EXECUTORCH, f"the format {format}")
        if int8:
            check_quantizer(format)
        return
    check_opset(OPSET if opset is None else opset)
    require_package("onnx", "writing ONNX files" if format == "onnx" else "the format openvino")
    if format == "openvino":
        require_package("openvino", "the format openvino")
    if int8:
        check_quantizer(format)


def why_no_image_input(predictor: Predictor, format: str) -> str:
    """Return why the input of a file cannot be an image of any size; empty if it can."""
    if format == "torch":
        return "the format torch is run by Convwright, which resizes images itself"
    if format in NETWORK_ALONE:
        return f"a file in the format {format} holds the network alone"
    return why_not(predictor.channels, predictor.framing)


def check_suffix(format: str, out: Path) -> None:
    """Check that a file ends in the suffix of its format."""
    if out.suffix != FORMATS[format]:
        raise ArgumentError("out", f"{out}: a file in the format {format} ends in {FORMATS[format]}")


@contextmanager
def _workspace(out: Path) -> Iterator[Path]:
    """Yield a new folder beside the file to write, and remove it at the end; errors name the file instead of it."""
    if out.is_dir():
        raise ArgumentError("out", f"{out} is a folder; name a file in it")
    folder = temporary_beside(out)
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise WriteError(f"{out} could not be written: {error.strerror or error}") from None
    except ArgumentError:
        raise
    except ConvwrightError as error:
        named = str(error).replace(str(folder / out.name), str(out))
        raise type(error)(named.replace(str(folder / out.stem), str(out.with_suffix("")))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, out: Path) -> tuple[Path, ...]:
    """Move the file to its name, after its second file (OpenVINO's .bin).

    Whenever this is interrupted, an existing file has its own weights beside it, or its checksum reports others.
    """
    made = [path for path in folder.iterdir() if path.name.startswith(f"{out.stem}.")]
    ordered = sorted(made, key=lambda path: path.name == out.name)
    for path in ordered:
        write_atomically(out.with_name(path.name), partial(shutil.move, path))
    with suppress(OSError):  # Windows cannot open folders
        handle = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return tuple(out.with_name(path.name) for path in ordered)

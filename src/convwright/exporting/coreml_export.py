"""Exporting to Core ML: a package that is written, read back, and compared with its network before it gets its name.

Core ML runs on Apple's systems only. The package's operations and constants are computed in torch instead, which shows
that the conversion is right and not how Core ML runs it.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from convwright import json_text
from convwright.engines.card import KEY, Card
from convwright.engines.engine import COREML_SUFFIX
from convwright.engines.program import Program
from convwright.errors import ArgumentError, ConvwrightError, WriteError
from convwright.exporting.agreement import Agreement, CheckImages, compare, logits_of
from convwright.exporting.coreml_reading import CoremlPackage, package_runner, read_package
from convwright.exporting.coreml_writer import COLORS, LOGITS, PIXELS, coreml_model
from convwright.exporting.quiet import quiet
from convwright.exporting.result import ExportResult
from convwright.exporting.subject import Subject
from convwright.files import temporary_beside
from convwright.places import check_new_folder
from convwright.stats.limits import Limits

MANIFEST = "Manifest.json"
"""File that every package of Core ML has."""
CHECKED_IN = "its operations in torch"
"""What a package was computed with, in the place of an engine's name."""


def check_package_target(out: Path) -> None:
    """Check that a package can be written: nothing is there, or a package, which is replaced.

    Raises:
        ArgumentError: It cannot be written, or something else is there.
    """
    if out.is_dir() and not out.is_symlink() and (out / MANIFEST).is_file():
        return
    if out.exists() or out.is_symlink():
        raise ArgumentError("out", f"{out} exists and is not a Core ML package; name another file")
    if not out.absolute().parent.is_dir():
        raise ArgumentError("out", f"{out}: there is no folder {out.absolute().parent}")
    check_new_folder("out", out)


def export_coreml(
    subject: Subject, out: Path, check: CheckImages, *, limits: Limits | None = None, progress: Callable[[str], None]
) -> ExportResult:
    """Export a network as a Core ML package, a folder named `.mlpackage`.

    Args:
        subject: The network.
        out: The package; one that exists is replaced.
        check: Images to verify on.
        limits: Limits of the network for the card, without an out-of-distribution score.
        progress: Gets a description of each step.

    Returns:
        The package, and how well its operations, computed in torch, agree with the network.

    Raises:
        UsageError: coremltools is not installed.
        ConvwrightError: The package does not hold the network, or could not be written; nothing is replaced.
    """
    check_package_target(out)
    program, folder = subject.program, temporary_beside(out)
    progress("running the network as it was trained")
    expected = logits_of(subject.reference, check.images)
    try:
        folder.mkdir()
        progress("writing")
        model, path = coreml_model(program), folder / out.name
        card = _saved(model, subject.card, path)
        progress("reading what was written")
        package = read_package(path)
        agreement = _verified(package, program, check, expected, out)
        card = replace(card, limits=limits and replace(limits, ood_score=None, ood_rule=None))
        record = replace(card.verified, on=check.description, images=len(check.images))
        card = _saved(model, replace(card, verified=record), path)
        check_structure(read_package(path), program, out)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        _publish(path, out)
    except OSError as error:
        raise WriteError(f"{out} could not be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ExportResult(out, (out,), card, {CHECKED_IN: agreement}, size, source=subject.source)


def _saved(model: Any, card: Card, path: Path) -> Card:
    """Write a model with its card; return the card."""
    shutil.rmtree(path, ignore_errors=True)
    model.short_description = f"{card.network}: {len(card.classes)} classes"
    model.user_defined_metadata[KEY] = card.to_json_text()
    model.user_defined_metadata["classes"] = json_text.dump(card.classes, ascii_only=True)
    with quiet():
        model.save(str(path))
    return card


def _verified(
    package: CoremlPackage, program: Program, check: CheckImages, expected: np.ndarray, out: Path
) -> Agreement:
    """Compare a package with its network; return the agreement of its operations.

    Raises:
        ConvwrightError: They differ.
    """
    check_structure(package, program, out)
    try:
        logits = logits_of(package_runner(package), check.images)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ConvwrightError(f"{out} was not written: its operations cannot be computed: {error}") from None
    agreement = compare(expected, logits, check.labels, check.thresholds)
    if not agreement.within_rounding:
        raise ConvwrightError(
            f"{out} was not written: its operations differ from the network by up to {agreement.difference:.2g} of an "
            "image's largest logit"
        )
    return agreement


def check_structure(package: CoremlPackage, program: Program, out: Path) -> None:
    """Check ports and constants of a package against the network.

    Args:
        package: The package, read back.
        program: The network.
        out: Name that the package will have, for messages.

    Raises:
        ConvwrightError: Names, types or shapes of input and output differ, or an array is missing or has changed.
    """
    ports, right = _ports(package.spec), _expected_ports(program)
    if ports != right:
        raise ConvwrightError(f"{out} was not written: its input and output are {ports}, not {right}")
    written = {array.tobytes() for array in package.constants()}
    for op in program.ops:
        arrays = {name: value for name, value in vars(op).items() if isinstance(value, np.ndarray)}
        for name, value in arrays.items():
            unlimited = name == "high" and np.all(np.isinf(value))  # a clamp without upper bounds has none
            if not unlimited and np.ascontiguousarray(value, np.float32).tobytes() not in written:
                raise ConvwrightError(f"{out} was not written: {name} of {op.path} is not in it as it should be")


def _ports(spec: Any) -> list[tuple[object, ...]]:
    """Return name, type and size of all inputs and outputs."""
    found: list[tuple[object, ...]] = []
    for port in (*spec.description.input, *spec.description.output):
        kind = port.type.WhichOneof("Type")
        described = getattr(port.type, kind)
        if kind == "imageType":
            color = described.ColorSpace.Name(described.colorSpace)
            found.append((port.name, color, int(described.height), int(described.width)))
        else:
            number = described.ArrayDataType.Name(described.dataType)
            found.append((port.name, number, *(int(size) for size in described.shape)))
    return found


def _expected_ports(program: Program) -> list[tuple[object, ...]]:
    channels, height, width = program.input_shape
    color = COLORS.get(channels)
    first = (PIXELS, color, height, width) if color else (PIXELS, "FLOAT32", 1, channels, height, width)
    return [first, (LOGITS, "FLOAT32", 1, program.classes)]


def _publish(path: Path, out: Path) -> None:
    """Give a package its name; one that exists is put back if that fails."""
    if not out.exists():
        path.rename(out)
        return
    before = path.with_name(f"before{COREML_SUFFIX}")
    out.rename(before)
    try:
        os.rename(path, out)  # noqa: PTH104 - as `Path.rename`, beside it
    except OSError:
        before.rename(out)
        raise

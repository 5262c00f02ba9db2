"""Writing the winner's file, with the input and the outputs that are possible for its network."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from convwright.errors import ArgumentError, ConvwrightError, DataError, RunError, WriteError
from convwright.exporting.explanation import explained
from convwright.exporting.export import Input
from convwright.exporting.result import ExportResult
from convwright.exporting.run_export import export_run
from convwright.exporting.subject import Subject
from convwright.prediction.network import load
from convwright.training.run import Run

VERIFIED_IMAGES = 300
"""Validation images on which the file is verified: fewer than `export` takes by itself, since the time is limited."""
ADVICE = "; use `input` tensor"
"""End of errors of an export whose own resizing disagrees; a design follows the advice itself."""
_STOPS = (WriteError, DataError, RunError)
"""Errors that another way to export does not help: a full disk, and images or a run that are missing."""


@dataclass(frozen=True)
class FileOptions:
    """Input and outputs of an exported file."""

    input: Input | None = None
    """None: an image of any size where that is possible."""
    explain: bool = False
    """Whether the activation map of the predicted class is an output."""


@dataclass(frozen=True)
class WrittenFile:
    """An exported file that was verified, and how it was written."""

    exported: ExportResult
    options: FileOptions
    decisions: list[tuple[str, str]] = field(default_factory=list)
    """What the file lacks, with the reasons."""


def write_file(
    run: Run,
    path: Path,
    *,
    int8: bool = False,
    options: FileOptions | None = None,
    images: int = VERIFIED_IMAGES,
    search_seconds: float | None = None,
) -> WrittenFile:
    """Export a run; what fails with an activation map or an image as input is tried without it.

    Args:
        run: The run.
        path: The file.
        int8: Whether it uses 8-bit integers.
        options: Input and outputs; by default all that the network allows.
        images: Most validation images on which the file is verified.
        search_seconds: Seconds after which quantization leaves no further layers in float; None: no limit.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another such reason.
        DataError: The images cannot be opened.
        RunError: The run is damaged, or its images have changed.
        ConvwrightError: The file does not agree with the network in any engine, whatever its input.
    """
    if options is not None:
        return WrittenFile(_export(run, path, options, images, int8=int8, search_seconds=search_seconds), options)
    decisions: list[tuple[str, str]] = []
    options = FileOptions()
    if can_explain(run):
        options = FileOptions(explain=True)
        try:
            return WrittenFile(_export(run, path, options, images, int8=int8), options)
        except _STOPS:
            raise
        except ConvwrightError as error:
            decisions.append(("the file has no activation map", f"the export with one failed: {_reason(error)}"))
            options = FileOptions()
    try:
        return WrittenFile(_export(run, path, options, images, int8=int8), options, decisions)
    except _STOPS:
        raise
    except ConvwrightError as error:
        decision = "the file takes images at the resolution of the network"
        decisions.append((decision, f"the export with an image of any size as input failed: {_reason(error)}"))
    options = replace(options, input="tensor")
    return WrittenFile(_export(run, path, options, images, int8=int8), options, decisions)


def can_explain(run: Run) -> bool:
    """Return whether the network of a run has class activation maps: it needs global pooling and one linear layer.

    Args:
        run: The run.
    """
    try:
        explained(Subject(load(run.path), str(run.path)))
    except ArgumentError:
        return False
    return True


def _reason(error: ConvwrightError) -> str:
    return str(error).removesuffix(ADVICE)


def _export(
    run: Run, path: Path, options: FileOptions, images: int, *, int8: bool, search_seconds: float | None = None
) -> ExportResult:
    return export_run(
        run,
        path,
        format=None,
        weights=None,
        data=None,
        images=images,
        int8=int8,
        max_drop=None,
        search_seconds=search_seconds,
        opset=None,
        input=options.input,
        explain=options.explain,
    )

"""The end of a design: the winner's exported file, verified and held against the budget."""

import re
import time
from pathlib import Path

from convwright.designing.file_export import write_file
from convwright.designing.quantizing import Quantization
from convwright.designing.request import DesignRequest
from convwright.designing.shipped_file import TORCH, Shipped, measure_file, why_not_in
from convwright.designing.winner_record import ScoredImages
from convwright.display.wording import counted, listed
from convwright.exporting.model_card import write_model_card
from convwright.exporting.result import ExportResult
from convwright.extras import installed
from convwright.places import without_folders
from convwright.printable import in_markdown
from convwright.scaling.budget import LATENCY
from convwright.training.plan import absolute_spec
from convwright.training.run import Run

NOT_INSTALLED = 'onnx, and onnxruntime or openvino, are not installed: pip install "convwright[deploy]"'
"""Reason why a design has no file."""
QUANTIZING_SHARE = 0.95
"""Share of the time that the dossier does not need which a file in 8 bits may take."""


def file_name(data: str) -> str:
    """Return the name of the exported file: that of the data, with the suffix of the format."""
    stem = re.sub(r"[^\w.-]+", "-", Path(absolute_spec(data)).name).strip("-.") or "network"
    return stem + ".onnx"


def can_export() -> bool:
    """Return whether a file can be written and verified."""
    return installed("onnx") and (installed("onnxruntime") or installed("openvino"))


def ship(
    run: Run,
    request: DesignRequest,
    seconds: float,
    dossier_seconds: float = 0.0,
    tested: ScoredImages | None = None,
) -> tuple[Shipped, list[tuple[str, str]]]:
    """Export a run, and compare the file with the budget.

    The file is in 8 bits where the budget needs it, or where it is faster, costs no accuracy and there is time to see.

    Args:
        run: The winner.
        request: The design's request.
        seconds: Seconds of the design that are left.
        dossier_seconds: Seconds of them that the dossier needs.
        tested: How many test images the run classifies correctly, for the model card; None: it is not known.

    Returns:
        The file, and decisions with their reasons.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another such reason.
        DataError: The images cannot be opened.
        ConvwrightError: The file does not agree with the network.
    """
    started = time.monotonic()
    written = write_file(run, request.out / file_name(request.data.spec))
    export_seconds = time.monotonic() - started
    decisions = [*written.decisions]
    shipped = measure_file(written.exported, run, request)
    left = QUANTIZING_SHARE * (seconds - (time.monotonic() - started) - dossier_seconds)
    quantization = Quantization(run, request, written.options, left)
    if LATENCY in shipped.exceeded:
        shipped, decision = quantization.try_for_latency(shipped)
        decisions.append(decision)
    elif not shipped.unmeasured:
        shipped, decision = quantization.try_for_speed(shipped, export_seconds)
        decisions.append(decision)
    _write_card(request, written.exported, quantization.exports.get(shipped.file), shipped, tested)
    if shipped.unmeasured:
        decisions.append((f"the latency could not be measured in {shipped.engine}", shipped.unmeasured))
    elif request.engine != TORCH and request.engine not in shipped.milliseconds:
        others = listed(shipped.milliseconds)
        reason = why_not_in(request.engine, written.exported)
        decisions.append((f"the file was verified in {others}, but not in {request.engine}", reason))
    if not shipped.exceeded and not shipped.unmeasured and request.budget is not None:
        needs = " and ".join(map(shipped.amount, shipped.used))
        reason = f"it needs {needs}; the budget allows {request.budget.allowance}"
        decisions.append(("the file is within the budget", reason))
    return shipped, decisions


def _write_card(
    request: DesignRequest,
    whole: ExportResult,
    quantized: ExportResult | None,
    shipped: Shipped,
    tested: ScoredImages | None,
) -> None:
    """Write README.md, the model card of the resulting file, with its accuracy on the test images.

    Args:
        request: The design's request.
        whole: The 32-bit file, which is kept in any case.
        quantized: The 8-bit file if it is the result, else None.
        shipped: The resulting file.
        tested: How many test images the run, and the 32-bit file, classifies correctly.
    """
    for each in (whole, quantized):
        if each is not None and each.model_card is not None:
            each.model_card.unlink(missing_ok=True)
    data = without_folders(absolute_spec(request.data.spec))
    if quantized is None:
        write_model_card(whole, tested="" if tested is None else _test_sentence(tested, data))
        return
    note = f"`{whole.path.name}`, beside this file, is the same network in 32-bit floats."
    if tested is not None:
        note += f" Its test accuracy is {tested.accuracy:.2%} ({_interval(tested)})."
    of_file = shipped.tested
    write_model_card(quantized, tested="" if of_file is None else _test_sentence(of_file, data), note=note)


def _test_sentence(tested: ScoredImages, data: str) -> str:
    images = counted(tested.images, "test image")
    return (
        f"Test accuracy {tested.accuracy:.2%} ({_interval(tested)}) on {images} of {in_markdown(data)}. These images "
        "were not used to choose or train the network."
    )


def _interval(tested: ScoredImages) -> str:
    low, high = tested.interval
    return f"95 % interval {low:.2%} to {high:.2%}"

"""The end of a design: the winner's exported file, verified and held against the budget."""

import re
import time
from pathlib import Path

from convwright.designing.file_export import write_file
from convwright.designing.quantizing import Quantization
from convwright.designing.request import DesignRequest
from convwright.designing.shipped_file import TORCH, Shipped, measure_file, why_not_in
from convwright.display.wording import listed
from convwright.extras import installed
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
    run: Run, request: DesignRequest, seconds: float, dossier_seconds: float = 0.0
) -> tuple[Shipped, list[tuple[str, str]]]:
    """Export a run, and compare the file with the budget.

    The file is in 8 bits where the budget needs it, or where it is faster, costs no accuracy and there is time to see.

    Args:
        run: The winner.
        request: The design's request.
        seconds: Seconds of the design that are left.
        dossier_seconds: Seconds of them that the dossier needs.

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

"""The end of a design: the winner's exported file, verified and held against the budget."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convwright.arch.cost import cost
from convwright.designing.request import DesignRequest
from convwright.errors import ConvwrightError
from convwright.exporting.result import ExportResult
from convwright.exporting.run_export import export_run
from convwright.extras import installed
from convwright.scaling.budget import LATENCY, Budget, format_amount, used
from convwright.training.run import Run

MOST_IMAGES = 300
"""Validation images on which the file is verified: fewer than `export` takes by itself, since the time is limited."""


@dataclass(frozen=True)
class Shipped:
    """An exported file, and what it uses of the budget."""

    file: str
    """Name of the file in the folder of the design."""
    precision: str
    bytes: int
    milliseconds: Mapping[str, float]
    """Median time of one image by engine."""
    used: Mapping[str, float]
    """What the file uses of each limited resource; latency in seconds."""
    exceeded: tuple[str, ...]
    """Limits that it exceeds; none if the budget is kept."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return {
            "file": self.file,
            "precision": self.precision,
            "bytes": self.bytes,
            "milliseconds": dict(self.milliseconds),
            "used": dict(self.used),
            "exceeded": list(self.exceeded),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Shipped":
        """Return what `to_dict` described."""
        return cls(**{**stored, "exceeded": tuple(stored["exceeded"])})


def file_name(data: str) -> str:
    """Return the name of the exported file: that of the data, with the suffix of the format."""
    stem = re.sub(r"[^\w.-]+", "-", Path(data).name).strip("-.") or "network"
    return stem + ".onnx"


def can_export() -> bool:
    """Return whether a file can be written and verified."""
    return installed("onnx") and (installed("onnxruntime") or installed("openvino"))


def ship(run: Run, request: DesignRequest) -> tuple[Shipped, list[tuple[str, str]]]:
    """Export a run, in 8 bits where the budget needs it, and compare the file with the budget.

    Args:
        run: The winner.
        request: The design's request.

    Returns:
        The file, and decisions with their reasons.

    Raises:
        ConvwrightError: The file does not agree with the network, or cannot be written.
    """
    decisions: list[tuple[str, str]] = []
    path = request.out / file_name(request.data.spec)
    shipped = _measured(_export(run, path, int8=False), run, request)
    if LATENCY in shipped.exceeded:
        slow = format_amount(LATENCY, shipped.used[LATENCY])
        try:
            quantized = _measured(_export(run, path.with_stem(path.stem + "-int8"), int8=True), run, request)
        except ConvwrightError as error:
            decisions.append(("the file stays in 32-bit floats", f"it takes {slow}, and 8 bits do not help: {error}"))
        else:
            decisions.append(("the file computes in 8 bits", f"in 32-bit floats an image takes {slow}"))
            shipped = quantized
    if not shipped.exceeded and request.budget is not None:
        kept = ", ".join(f"{format_amount(name, amount)} of {name}" for name, amount in shipped.used.items())
        decisions.append(("the file keeps the budget", f"it needs {kept}; the budget is {request.budget}"))
    return shipped, decisions


def _export(run: Run, path: Path, *, int8: bool) -> ExportResult:
    return export_run(
        run, path, format=None, weights=None, data=None, images=MOST_IMAGES, int8=int8, max_drop=None, opset=None
    )


def _measured(exported: ExportResult, run: Run, request: DesignRequest) -> Shipped:
    budget = request.budget or Budget({})
    count, times = cost(run.network), exported.milliseconds
    uses = {name: used(count, name) for name in budget.counted}
    if budget.latency is not None:
        uses[LATENCY] = times.get(request.engine, min(times.values())) / 1000
    over = tuple(name for name, amount in uses.items() if amount > budget.limits[name])
    card = exported.card
    return Shipped(exported.path.name, card.precision, exported.bytes, times, uses, over)

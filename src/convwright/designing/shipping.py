"""The end of a design: the winner's exported file, verified and held against the budget."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from convwright.arch.cost import cost
from convwright.designing.request import DesignRequest
from convwright.errors import ConvwrightError
from convwright.evaluation.assessment import class_order, labels_in, with_channels
from convwright.exporting.result import ExportResult
from convwright.exporting.run_export import export_run
from convwright.extras import installed
from convwright.prediction.files import FilePredictor
from convwright.scaling.budget import LATENCY, Budget, format_amount, used
from convwright.scaling.latency import Stopwatch
from convwright.stats.intervals import wilson
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

VERIFIED_IMAGES = 300
"""Validation images on which the file is verified: fewer than `export` takes by itself, since the time is limited."""
TORCH = "torch"
USES_FLOATS = "the file uses 32-bit floats"
"""Decision against a file in 8 bits."""
USES_INT8 = "the file uses 8-bit integers"
"""Decision for a file in 8 bits."""
BATCH = 64
"""Test images that a file predicts at once."""


@dataclass(frozen=True)
class ScoredImages:
    """How many test images an exported file classifies correctly."""

    right: int
    images: int

    @property
    def accuracy(self) -> float:
        """Share of the images, 0 to 1."""
        return self.right / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return wilson(self.right, self.images)


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
    engine: str = ""
    """Engine whose latency is compared with the budget; empty if the latency is not limited."""
    tested: ScoredImages | None = None
    """Its accuracy on the test images; None for a file in 32-bit floats, which predicts as the run does."""

    def amount(self, name: str) -> str:
        """Return what the file uses of a limited resource as text, with the engine of a latency."""
        where = f" in {self.engine}" if name == LATENCY and self.engine else ""
        return f"{format_amount(name, self.used[name])} of {name}{where}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return {
            "file": self.file,
            "precision": self.precision,
            "bytes": self.bytes,
            "milliseconds": dict(self.milliseconds),
            "used": dict(self.used),
            "exceeded": list(self.exceeded),
            "engine": self.engine,
            "tested": None if self.tested is None else dict(vars(self.tested)),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Shipped":
        """Return what `to_dict` described."""
        tested = stored.get("tested")
        fields = {"exceeded": tuple(stored["exceeded"]), "tested": None if tested is None else ScoredImages(**tested)}
        return cls(**{**stored, **fields})


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
    shipped = _measure_file(_export(run, path, int8=False), run, request)
    if LATENCY in shipped.exceeded:
        shipped, decision = _try_int8(shipped, run, request)
        decisions.append(decision)
    if not shipped.exceeded and request.budget is not None:
        kept = ", ".join(map(shipped.amount, shipped.used))
        decisions.append(("the file keeps the budget", f"it needs {kept}; the budget is {request.budget}"))
    return shipped, decisions


def _try_int8(shipped: Shipped, run: Run, request: DesignRequest) -> tuple[Shipped, tuple[str, str]]:
    """Return the file in 8 bits if it is faster than one in floats that is too slow, and the decision with its reason.

    Args:
        shipped: The file in floats.
        run: The winner.
        request: The design's request.
    """
    slow = (
        f"an image takes {format_amount(LATENCY, shipped.used[LATENCY])} in {shipped.engine} with 32-bit floats, more "
        "than the budget allows"
    )
    if shipped.engine == TORCH:
        return shipped, (USES_FLOATS, f"{slow}; torch cannot run files with 8-bit integers")
    path = request.out / shipped.file
    try:
        exported = _export(run, path.with_stem(path.stem + "-int8"), int8=True)
    except ConvwrightError as error:
        return shipped, (USES_FLOATS, f"{slow}; the export with 8-bit integers failed: {error}")
    quantized = _measure_file(exported, run, request)
    faster = f"with 8-bit integers it takes {format_amount(LATENCY, quantized.used[LATENCY])} in {quantized.engine}"
    if quantized.used[LATENCY] >= shipped.used[LATENCY]:
        for each in exported.files:
            each.unlink(missing_ok=True)
        return shipped, (USES_FLOATS, f"{slow}; {faster}, which is not faster")
    tested = evaluate_file(exported.path, run, quantized.engine)
    return replace(quantized, tested=tested), (USES_INT8, f"{slow}; {faster}")


def evaluate_file(path: Path, run: Run, engine: str) -> ScoredImages:
    """Return how many test images of a run's data an exported file of the run classifies correctly.

    Args:
        path: The file.
        run: The run that was exported.
        engine: The engine that runs the file.
    """
    predictor = FilePredictor(path, engine)
    data = open_run_data(run, training=False)
    assert data.test is not None  # a design without test images does not begin
    order = class_order(data.classes, predictor.classes, data.name)
    right = 0
    for rows in torch.arange(len(data.test)).split(BATCH):
        images = with_channels(data.test.take(rows), predictor.channels).numpy()
        labels = labels_in(order, data.test.labels[rows], len(predictor.classes))
        right += int((predictor.logits(images).argmax(1) == labels.numpy()).sum())
    return ScoredImages(right, len(data.test))


def _export(run: Run, path: Path, *, int8: bool) -> ExportResult:
    return export_run(
        run, path, format=None, weights=None, data=None, images=VERIFIED_IMAGES, int8=int8, max_drop=None, opset=None
    )


def _measure_file(exported: ExportResult, run: Run, request: DesignRequest) -> Shipped:
    budget = request.budget or Budget({})
    count, times = cost(run.network), exported.milliseconds
    uses = {name: used(count, name) for name in budget.counted}
    engine = ""
    if budget.latency is not None:
        if request.engine == TORCH:
            times = {TORCH: 1000 * Stopwatch(engine=TORCH)(run.network), **times}
        engine = request.engine if request.engine in times else min(times, key=times.__getitem__)
        uses[LATENCY] = times[engine] / 1000
    over = tuple(name for name, amount in uses.items() if amount > budget.limits[name])
    return Shipped(exported.path.name, exported.card.precision, exported.bytes, times, uses, over, engine)

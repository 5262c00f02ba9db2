"""The exported file of a design: what it uses of the budget, and how many test images it classifies correctly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from convwright.arch.cost import cost
from convwright.designing.request import DesignRequest
from convwright.designing.winner_record import ScoredImages
from convwright.evaluation.assessment import class_order, labels_in, with_channels
from convwright.exporting.result import ExportResult
from convwright.extras import installed
from convwright.prediction.files import FilePredictor
from convwright.scaling.budget import LATENCY, Budget, format_need, used
from convwright.scaling.latency import Stopwatch
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

TORCH = "torch"
BATCH = 64
"""Test images that a file predicts at once."""


@dataclass(frozen=True)
class Shipped:
    """An exported file, and what it uses of the budget."""

    file: str
    """Name of the file in the folder of the design."""
    precision: str
    bytes: int
    milliseconds: Mapping[str, float]
    """Median time of the network on one image of its resolution, by engine."""
    used: Mapping[str, float]
    """What the file uses of each limited resource; latency in seconds."""
    exceeded: tuple[str, ...]
    """Limits that it exceeds; none if it is within the budget."""
    engine: str = ""
    """Engine whose latency is compared with the budget; empty if the latency is not limited."""
    unmeasured: str = ""
    """Why the latency in this engine, which the budget limits, is not measured; empty if it is."""
    whole_milliseconds: Mapping[str, float] = field(default_factory=dict)
    """Median time of the whole file by engine: with its cropping and resizing of an image, and all its outputs."""
    tested: ScoredImages | None = None
    """Its accuracy on the test images; None for a file in 32-bit floats, which predicts as the run does."""

    def amount(self, name: str) -> str:
        """Return what the file uses of a limited resource as text, with the engine of a latency."""
        where = f" in {self.engine}" if name == LATENCY and self.engine else ""
        return f"{format_need(name, self.used[name])}{where}"

    @property
    def latency_text(self) -> str:
        """The times by engine: of the network, and of the whole file where that does more."""
        text = f"{_listed_times(self.milliseconds)} (network only, on an image of its resolution)"
        if self.whole_milliseconds:
            text += f"; {_listed_times(self.whole_milliseconds)} (whole file, with cropping and resizing)"
        return text

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
            "unmeasured": self.unmeasured,
            "whole_milliseconds": dict(self.whole_milliseconds),
            "tested": None if self.tested is None else dict(vars(self.tested)),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Shipped":
        """Return what `to_dict` described."""
        tested = stored.get("tested")
        fields = {"exceeded": tuple(stored["exceeded"]), "tested": None if tested is None else ScoredImages(**tested)}
        return cls(**{**stored, **fields})


def _listed_times(milliseconds: Mapping[str, float]) -> str:
    """Return times by engine as text: ``onnxruntime 0.12 ms, openvino 0.19 ms``."""
    return ", ".join(f"{engine} {ms:.2f} ms" for engine, ms in milliseconds.items())


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


def measure_in_torch(run: Run) -> float:
    """Return the latency of a run's network in torch, in seconds."""
    return Stopwatch(engine=TORCH)(run.network)


def measure_file(exported: ExportResult, run: Run, request: DesignRequest) -> Shipped:
    """Return an exported file with what it uses of the budget.

    Args:
        exported: The file, which was verified.
        run: The run that was exported.
        request: The design's request.
    """
    budget = request.budget or Budget({})
    count, times = cost(run.network), exported.milliseconds
    uses = {name: used(count, name) for name in budget.counted}
    engine = unmeasured = ""
    if budget.latency is not None:
        engine = request.engine
        if engine == TORCH:
            times = {TORCH: 1000 * measure_in_torch(run), **times}
        if engine in times:
            uses[LATENCY] = times[engine] / 1000
        else:  # another engine says nothing about the one that will serve the network
            unmeasured = why_not_in(engine, exported)
    over = tuple(name for name, amount in uses.items() if amount > budget.limits[name])
    return Shipped(
        exported.path.name,
        exported.card.precision,
        exported.bytes,
        times,
        uses,
        over,
        engine,
        unmeasured,
        _whole_times(exported),
    )


def why_not_in(engine: str, exported: ExportResult) -> str:
    """Return why a file was not verified in an engine."""
    if not installed(engine):
        return f"{engine} is not installed"
    return exported.problems.get(engine, f"{engine} does not run the file")


def _whole_times(exported: ExportResult) -> dict[str, float]:
    """Return the time of the whole file by engine, where its input is an image."""
    if exported.card.input != "image":
        return {}
    found = {name: check.details.get("whole_milliseconds") for name, check in exported.card.verified.engines.items()}
    return {name: ms for name, ms in found.items() if isinstance(ms, float)}

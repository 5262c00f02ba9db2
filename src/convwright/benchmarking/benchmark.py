"""Networks, runs and exported files measured in every engine that is at hand, against what the machine allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convwright.benchmarking.measuring import (
    ENGINES,
    ENOUGH_SECONDS,
    Engine,
    Measurement,
    Setting,
    file_settings,
    measure,
    measure_file,
    prepared,
)
from convwright.benchmarking.roofline import Floor, Machine, floors
from convwright.engines.card_reading import read_card
from convwright.engines.program import Program
from convwright.engines.registry import FILE_ENGINES, SUFFIXES
from convwright.engines.selection import EngineSelection, save_selection
from convwright.errors import ConvwrightError, NetworkError, UsageError
from convwright.exporting.agreement import Agreement, Check, compare, logits_of
from convwright.exporting.quantization import Calibration
from convwright.exporting.subject import Subject

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BenchRequest:
    """What is to be measured."""

    engines: Sequence[Engine]
    precisions: Sequence[str]
    batches: Sequence[int]
    threads: Sequence[int]
    seconds: float = ENOUGH_SECONDS

    def settings(self) -> list[Setting]:
        """Return every combination that an engine knows."""
        return [
            Setting(engine.name, precision, batch, threads)
            for batch in self.batches
            for threads in self.threads
            for precision in self.precisions
            for engine in self.engines
            if precision in engine.precisions
        ]


@dataclass(frozen=True)
class SelectionRequest:
    """The engine to pick for a run."""

    accuracy: float
    """Least accuracy that it must keep, 0 to 1."""
    run: Path
    fingerprint: dict[str, str]
    """`picks.fingerprint` of the run before it was loaded."""


@dataclass(frozen=True)
class BenchRow:
    """One measurement, and how well the engine agreed where images were at hand."""

    measurement: Measurement
    agreement: Agreement | None = None

    @property
    def setting(self) -> Setting:
        """How it was run."""
        return self.measurement.setting

    @property
    def suffix(self) -> str:
        """Suffix of the exported file that the engine ran; empty for torch modules."""
        return ENGINES[self.setting.engine].suffix


@dataclass(frozen=True)
class BenchResult:
    """All that was measured of one network."""

    name: str
    params: int
    macs: int
    """Of the network as it is described, for one image."""
    folded_macs: int
    """After what algebra saves."""
    lines: tuple[BenchRow, ...]
    floors: dict[tuple[int, int, str], list[Floor]]
    """By batch, threads and precision; empty for a network that cannot be exported."""

    def floor(self, setting: Setting) -> float | None:
        """Return the least seconds of a batch; None for what the floor is not measured for."""
        found = self.floors.get((setting.batch, setting.threads, setting.precision))
        return sum(floor.seconds for floor in found) if found else None

    def compute_floor(self, setting: Setting) -> float | None:
        """Return the seconds of the multiply-adds alone at the matrix product's speed."""
        found = self.floors.get((setting.batch, setting.threads, setting.precision))
        return sum(floor.compute for floor in found) if found else None


def bench_subject(
    subject: Subject,
    asked: BenchRequest,
    machines: dict[int, Machine],
    *,
    check: Check | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda _: None,
    pick: SelectionRequest | None = None,
) -> tuple[BenchResult, EngineSelection | ConvwrightError | None]:
    """Measure a network in every setting; with images, also how well each engine agrees with the original.

    Args:
        subject: The network.
        asked: What is to be measured.
        machines: Peaks of this machine by number of threads.
        check: Images to compare on.
        calibration: Images that set the ranges of 8 bits; without them those are not measured.
        progress: Gets a line for each step.
        pick: Run directory that remembers the fastest engine; where no engine keeps the accuracy, or the directory
            could not be written, the error comes back beside what was measured.
    """
    from convwright.arch.cost import cost

    costs, program = cost(subject.network), _program(subject)
    expected = logits_of(subject.reference, check.images) if check else None
    lines = []
    chosen: EngineSelection | ConvwrightError | None = None
    progress("writing")
    with prepared(subject, asked.engines, asked.precisions, calibration) as folder:
        for setting in asked.settings():
            progress(f"{subject.source}: {setting.engine}, {setting.precision}, batch {setting.batch}")
            result = measure(folder, setting, check.images if check else None, asked.seconds)
            lines.append(BenchRow(result, _agreement(result, expected, check)))
        if pick is not None:
            try:
                chosen = save_selection(pick.run, folder, fastest(lines, pick.accuracy), pick.fingerprint)
            except ConvwrightError as error:
                chosen = error
    keys = [(b, t, p) for b in asked.batches for t in asked.threads for p in asked.precisions] if program else []
    floor = {(b, t, p): found for b, t, p in keys if program and (found := floors(program, machines[t], b, p))}
    folded = program.macs if program else costs.macs
    bench = BenchResult(subject.source, costs.params, costs.macs, folded, tuple(lines), floor)
    return bench, chosen


def _program(subject: Subject) -> Program | None:
    """Return what floors are taken of; None for a network that runs as it was trained only."""
    try:
        return subject.program
    except NetworkError:
        return None


def bench_file(path: Path, asked: BenchRequest, progress: Progress = lambda _: None) -> BenchResult:
    """Measure an exported file in the engines that read it."""
    from convwright.arch import Network
    from convwright.arch.cost import cost

    card = read_card(path)
    try:
        costs = cost(Network.from_json(card.description))
    except NetworkError as error:
        raise UsageError(f"{path}: its description of the network is not sound: {error}") from None
    precisions = [card.precision] if card.precision == "int8" else [p for p in asked.precisions if p != "int8"]
    lines = []
    for batch in asked.batches:
        for threads in asked.threads:
            for precision in precisions:
                for setting in file_settings(path, asked.engines, batch, threads, precision):
                    if precision not in _known(setting.engine):
                        continue
                    progress(f"{path}: {setting.engine}, {precision}, batch {batch}")
                    lines.append(BenchRow(measure_file(path, setting, seconds=asked.seconds)))
    if not lines:
        readers = ", ".join(engine.name for engine in FILE_ENGINES.values() if path.suffix in engine.reads)
        asked_for = ", ".join(asked.precisions)
        raise UsageError(f"{path}: no engine that was asked for runs it in {asked_for}; it is read by {readers}")
    return BenchResult(str(path), costs.params, costs.macs, costs.macs, tuple(lines), {})


def is_file(text: str) -> bool:
    """Does this name an exported file?"""
    return Path(text).suffix in SUFFIXES


def fastest(lines: Sequence[BenchRow], accuracy: float) -> BenchRow:
    """Return the line with the least time an image that keeps an accuracy. ConvwrightError if none does."""
    able = [
        line
        for line in lines
        if not line.measurement.problem
        and line.agreement is not None
        and line.agreement.accuracy is not None
        and line.agreement.accuracy >= accuracy
    ]
    if not able:
        reached = [line.agreement.accuracy for line in lines if line.agreement and line.agreement.accuracy is not None]
        best = f"the best reaches {max(reached):.2%}" if reached else "none could be measured"
        raise ConvwrightError(f"no engine keeps an accuracy of {accuracy:.2%}: {best}")
    return min(able, key=lambda line: line.measurement.median / line.setting.batch)


def _known(engine: str) -> tuple[str, ...]:
    return ENGINES[engine].precisions


def _agreement(result: Measurement, expected: np.ndarray | None, check: Check | None) -> Agreement | None:
    if result.logits is None or expected is None or check is None:
        return None
    return compare(expected, result.logits, check.labels)


def as_json(bench: BenchResult) -> dict[str, Any]:
    """Return what was measured for JSON."""
    return {
        "network": bench.name,
        "params": bench.params,
        "macs": bench.macs,
        "folded_macs": bench.folded_macs,
        "engines": [_line(bench, line) for line in bench.lines],
        "layers": {
            f"batch {batch}, {threads} threads, {precision}": [vars(floor) | {"bound": floor.bound} for floor in found]
            for (batch, threads, precision), found in bench.floors.items()
        },
    }


def _line(bench: BenchResult, line: BenchRow) -> dict[str, Any]:
    told: dict[str, Any] = dict(vars(line.setting))
    result = line.measurement
    if result.problem:
        return told | {"problem": result.problem}
    floor, compute = bench.floor(line.setting), bench.compute_floor(line.setting)
    told |= {
        "median_ms": 1000 * result.median,
        "p95_ms": 1000 * result.p95,
        "images_per_second": result.throughput,
        "memory_bytes": result.memory_bytes,
        "load_seconds": result.load_seconds,
        "floor_ms": None if floor is None else 1000 * floor,
        "compute_floor_ms": None if compute is None else 1000 * compute,
    }
    return told | (line.agreement.facts() if line.agreement else {})

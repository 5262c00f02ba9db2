"""Networks and exported files measured in every backend, beside the floor that the machine sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.benchmarking.backends import Backend
from convwright.benchmarking.job import ENOUGH_SECONDS, GPU, Setting
from convwright.benchmarking.measuring import Measurement, file_settings, measure, measure_file, prepared
from convwright.benchmarking.network_bench import BenchRow, NetworkBench
from convwright.benchmarking.roofline import Machine, floors
from convwright.benchmarking.selecting import SelectionRequest, fastest, save_selection
from convwright.engines.card import Card
from convwright.engines.card_reading import read_card
from convwright.engines.program import Program
from convwright.engines.registry import engines_reading
from convwright.engines.selection import EngineSelection
from convwright.errors import ConvwrightError, NetworkError, UsageError
from convwright.exporting.agreement import Agreement, CheckImages, compare, logits_of
from convwright.exporting.quantization import Calibration
from convwright.exporting.subject import Subject

Progress = Callable[[str], None]
"""Gets a short description of each step."""


@dataclass(frozen=True)
class BenchRequest:
    """What to measure."""

    backends: Sequence[Backend]
    precisions: Sequence[str]
    batches: Sequence[int]
    threads: Sequence[int]
    seconds: float = ENOUGH_SECONDS
    """Time of each measurement."""

    def settings(self) -> list[Setting]:
        """Return every combination that a backend supports."""
        return [
            Setting(backend.name, precision, batch, threads)
            for batch in self.batches
            for threads in self.all_threads
            for precision in self.precisions
            for backend in self.backends
            if precision in backend.precisions and (backend.device == "cuda") == (threads == GPU)
        ]

    @property
    def all_threads(self) -> Sequence[int]:
        """Numbers of threads where a backend computes on the CPU, and `GPU` where one computes on it."""
        on_gpu = [backend.device == "cuda" for backend in self.backends]
        return [*([] if all(on_gpu) else self.threads), *[GPU] * any(on_gpu)]


def bench_subject(
    subject: Subject,
    request: BenchRequest,
    machines: Mapping[int, Machine],
    *,
    check: CheckImages | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda _: None,
    select: SelectionRequest | None = None,
) -> tuple[NetworkBench, EngineSelection | ConvwrightError | None]:
    """Measure a network in every setting; with images, also how well each backend agrees with the original.

    Args:
        subject: The network.
        request: What to measure.
        machines: Peaks of this machine by number of threads, or `GPU`.
        check: Images to compare on.
        calibration: Images to calibrate 8 bits on; without them 8 bits are not measured.
        progress: Gets a description of each step.
        select: Run directory that keeps the fastest engine.

    Returns:
        The measurements, and the selected engine; in its place the error if no engine reaches the accuracy or the run
        directory could not be written.
    """
    costs, program = cost(subject.network), _program(subject)
    expected = logits_of(subject.reference, check.images) if check else None
    rows = []
    chosen: EngineSelection | ConvwrightError | None = None
    progress("writing")
    with prepared(subject, request.backends, request.precisions, calibration) as folder:
        for setting in request.settings():
            progress(f"{subject.source}: {setting.engine}, {setting.precision}, batch {setting.batch}")
            result = measure(folder, setting, check.images if check else None, request.seconds)
            rows.append(BenchRow(result, _agreement(result, expected, check)))
        if select is not None:
            try:
                chosen = save_selection(select.run, folder, fastest(rows, select.accuracy), select.fingerprint)
            except ConvwrightError as error:
                chosen = error
    keys = [(b, t, p) for b in request.batches for t in machines for p in request.precisions]
    floor = {(b, t, p): found for b, t, p in keys if program and (found := floors(program, machines[t], b, p))}
    folded = program.macs if program else costs.macs
    images = check.description if check and check.labels is not None else ""
    return NetworkBench(subject.source, costs.params, costs.macs, folded, tuple(rows), floor, images), chosen


def bench_file(path: Path, request: BenchRequest, progress: Progress = lambda _: None) -> NetworkBench:
    """Measure an exported file in the engines that read it.

    Args:
        path: The file.
        request: What to measure.
        progress: Gets a description of each step.

    Raises:
        UsageError: None of the engines of the request runs the file, or the file is damaged.
    """
    card = read_card(path)
    try:
        costs = cost(Network.from_json(card.description))
    except NetworkError as error:
        raise UsageError(f"{path}: its description of the network is not valid: {error}") from None
    precisions = file_precisions(card, request.precisions)
    rows = []
    for batch in request.batches:
        for threads in request.all_threads:
            for precision in precisions:
                for setting in file_settings(path, request.backends, batch, threads, precision):
                    progress(f"{path}: {setting.engine}, {precision}, batch {batch}")
                    rows.append(BenchRow(measure_file(path, setting, seconds=request.seconds)))
    if not rows:
        readers = ", ".join(engine.name for engine in engines_reading(path.suffix))
        raise UsageError(
            f"{path}: none of the requested engines runs it in {', '.join(request.precisions)}; {readers} read it"
        )
    return NetworkBench(str(path), costs.params, costs.macs, costs.macs, tuple(rows), {})


def file_precisions(card: Card, precisions: Sequence[str]) -> list[str]:
    """Return the precisions in which an exported file is measured: a quantized one in its own only."""
    return [card.precision] if card.precision == "int8" else [each for each in precisions if each != "int8"]


def _program(subject: Subject) -> Program | None:
    """Return the operations that floors are computed of; None for a network that only runs as it was trained."""
    try:
        return subject.program
    except NetworkError:
        return None


def _agreement(result: Measurement, expected: np.ndarray | None, check: CheckImages | None) -> Agreement | None:
    if result.logits is None or expected is None or check is None:
        return None
    return compare(expected, result.logits, check.labels, check.thresholds)

"""Benchmarks of what a user names: runs, networks and exported files."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convwright.arch import Network
from convwright.benchmarking.backends import backends_named, check_precision
from convwright.benchmarking.benchmark import BenchRequest, Progress, bench_file, bench_subject, file_precisions
from convwright.benchmarking.job import GPU
from convwright.benchmarking.measuring import file_settings
from convwright.benchmarking.network_bench import NetworkBench
from convwright.benchmarking.result import BenchResult
from convwright.benchmarking.roofline import Machine, measure_gpu, measure_machine
from convwright.benchmarking.selecting import SelectionRequest
from convwright.display.progress import status
from convwright.engines.card_reading import read_card
from convwright.engines.engine import SUFFIXES, check_runnable
from convwright.engines.runner import cores
from convwright.engines.selection import EngineSelection, fingerprint
from convwright.errors import ArgumentError, ConvwrightError, argument
from convwright.evaluation.overlap import overlap_sentence
from convwright.exporting import check_images
from convwright.exporting.run_export import open_subject
from convwright.exporting.subject import Subject
from convwright.training.run import Run
from convwright.zoo.reading import FILE, read_network

Target = Run | Network | str | Path
"""A run or its directory, a network or its expression, or an exported file."""


def bench_networks(
    networks: Sequence[Target],
    *,
    engine: Sequence[str] | None,
    precision: Sequence[str] | None,
    batch: Sequence[int],
    threads: Sequence[int] | None,
    seconds: float,
    layers: bool,
    select: float | None,
) -> BenchResult:
    """Measure networks; see `convwright.api.shipping.bench`."""
    request = _request(engine, precision or ["f32"], batch, threads, seconds)
    if not networks:
        raise ArgumentError("networks", "must be one or more runs, networks or exported files")
    for network in networks:
        _check_target(network, request)
    _check_used(networks, request, engine, precision)
    if layers and all(isinstance(network, str | Path) and _is_file(network) for network in networks):
        raise ArgumentError("layers", "floors by layer are known for runs and networks, not for exported files")
    if select is not None and select <= 1:
        raise ArgumentError("select", f"is in percent, above 1 and up to 100, not {select:g}; 90 means 90 %")
    run = None if select is None else _run_to_keep(networks)
    with status("measuring the machine") as progress:
        machines = {count: measure_gpu() if count == GPU else measure_machine(count) for count in request.all_threads}
        results = [_measured(network, request, machines, select, progress) for network in networks]
    benches = tuple(bench for bench, _ in results)
    chosen = results[0][1]
    failure = str(chosen) if isinstance(chosen, ConvwrightError) else ""
    if not failure and not any(bench.measured for bench in benches):
        failure = "no engine could be measured; the table has the reasons"
    selection = None if isinstance(chosen, ConvwrightError) else chosen
    wanted = None if select is None else select / 100
    return BenchResult(benches, machines, selection, failure, layers, "" if run is None else str(run), wanted)


def _request(
    engine: Sequence[str] | None,
    precision: Sequence[str],
    batch: Sequence[int],
    threads: Sequence[int] | None,
    seconds: float,
) -> BenchRequest:
    counts = threads or [cores()]
    if max(counts) > (most := os.cpu_count() or 1):
        raise ArgumentError("threads", f"must be 1 to {most}, the processor cores of this machine, not {max(counts)}")
    for each in precision:
        check_precision(each)
    backends = backends_named(engine)
    if threads and all(backend.device == "cuda" for backend in backends):
        raise ArgumentError("threads", "are those of engines on the CPU, and none is given; omit it")
    return BenchRequest(backends, precision, batch, counts, seconds)


def _run_to_keep(networks: Sequence[Target]) -> Path:
    """Return the run that is to keep the fastest engine. ArgumentError if it is not exactly one, and writable."""
    path = networks[0].path if isinstance(networks[0], Run) else networks[0]
    if len(networks) > 1 or isinstance(path, Network) or not Path(path).is_dir():
        raise ArgumentError("select", "needs exactly one run, on whose images the accuracy is measured")
    if not os.access(path, os.W_OK):
        raise ConvwrightError(
            f"{path}: the run directory is not writable, and the fastest engine's file is kept there; omit `select`"
        )
    return Path(path)


def _check_target(network: Target, request: BenchRequest) -> None:
    """Check that a target exists and that something of it can be measured, before minutes are spent on others."""
    if isinstance(network, str | Path):
        with argument("networks"):
            check_runnable(Path(network))
    if isinstance(network, str | Path) and _is_file(network):
        if not Path(network).is_file():
            raise ArgumentError("networks", f"{network}: no such file")
        return
    if isinstance(network, str | Path):
        with argument("networks"):
            read_network(str(network))
    elif not isinstance(network, Network | Run):
        raise ArgumentError("networks", f"must be runs, networks or exported files, not {network!r:.80}")
    if not request.settings():
        names = ", ".join(backend.name for backend in request.backends)
        raise ArgumentError("precision", f"nothing to measure: {names} does not run {', '.join(request.precisions)}")


def _check_used(
    networks: Sequence[Target], request: BenchRequest, engine: Sequence[str] | None, precision: Sequence[str] | None
) -> None:
    """Check that something is measured with every engine and in every precision that was given."""
    used = {pair for network in networks for pair in _combinations(network, request)}
    for each in engine or ():
        if each not in (engines := {name for name, _ in used}):
            usable = f"; {', '.join(sorted(engines))} can be measured" if engines else ""
            wanted = ", ".join(request.precisions)
            raise ArgumentError("engine", f"nothing can be measured with {each} in {wanted}{usable}")
    for each in precision or ():
        if each not in (precisions := {name for _, name in used}):
            usable = f"; {', '.join(sorted(precisions))} can be measured" if precisions else ""
            raise ArgumentError("precision", f"nothing can be measured in {each}{usable}")


def _combinations(network: Target, request: BenchRequest) -> set[tuple[str, str]]:
    """Return the engines and precisions of a request in which a target can be measured."""
    if not (isinstance(network, str | Path) and _is_file(network)):
        return {(setting.engine, setting.precision) for setting in request.settings()}
    path, card = Path(network), read_card(Path(network))
    return {
        (setting.engine, setting.precision)
        for precision in file_precisions(card, request.precisions)
        for threads in request.all_threads
        for setting in file_settings(path, request.backends, request.batches[0], threads, precision)
    }


def _is_file(network: str | Path) -> bool:
    """Return whether a value names an exported file."""
    return Path(network).suffix in SUFFIXES


def _measured(
    network: Target,
    request: BenchRequest,
    machines: dict[int, Machine],
    select: float | None,
    progress: Progress,
) -> tuple[NetworkBench, EngineSelection | ConvwrightError | None]:
    if isinstance(network, str | Path) and _is_file(network):
        return bench_file(Path(network), request, progress), None
    if isinstance(network, Run) or (isinstance(network, str | Path) and (Path(network) / FILE).is_file()):
        return _measured_run(Run.of(network), request, machines, select, progress)
    subject = Subject.untrained(network if isinstance(network, Network) else read_network(str(network)))
    calibration = None
    if "int8" in request.precisions:
        calibration = check_images.random_weights_calibration(subject.predictor)
    return bench_subject(subject, request, machines, calibration=calibration, progress=progress)


def _measured_run(
    run: Run, request: BenchRequest, machines: dict[int, Machine], select: float | None, progress: Progress
) -> tuple[NetworkBench, EngineSelection | ConvwrightError | None]:
    before = fingerprint(run.path)
    predictor, data = open_subject(run)
    assert data is not None
    check = check_images.of_split(predictor, data, data.val, "validation")
    calibration = check_images.calibration(predictor, data) if "int8" in request.precisions else None
    wanted = None if select is None else SelectionRequest(select / 100, run.path, before)
    subject = Subject(predictor, str(run.path))
    bench, chosen = bench_subject(
        subject, request, machines, check=check, calibration=calibration, progress=progress, select=wanted
    )
    return replace(bench, overlap=overlap_sentence(run, data, data.val, "validation")), chosen

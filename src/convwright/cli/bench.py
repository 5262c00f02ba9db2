"""`convwright bench`: what an image costs in every engine on this machine, and how far that is from the least."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.display.table import emphasised, paragraph, table
from convwright.errors import ConvwrightError, UsageError
from convwright.printable import quoted
from convwright.zoo.reading import FILE, read_network

if TYPE_CHECKING:
    from convwright.benchmarking.benchmark import BenchRequest, BenchResult, BenchRow
    from convwright.benchmarking.roofline import Machine
    from convwright.engines.selection import EngineSelection

MOST_LAYERS = 12
NOTE = (
    "Times are for a batch, from uint8 images to logits. Memory is what the process grew by. The floor is the sum over "
    "layers of the larger of multiply-adds at the speed of a large matrix product and bytes at the speed of copying "
    "memory; maps that stay in the processor's cache can undercut the latter."
)


def bench(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Networks, runs or exported files.")],
    engine: Annotated[
        list[str] | None, typer.Option(help="torch, torch-channels-last, torch-compile, torch-folded, onnxruntime, ...")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="f32, bf16, int8; by default f32.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Images at once; by default 1.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads; by default as many as cores.")] = None,
    seconds: Annotated[float, typer.Option(help="How long each measurement takes.")] = 2.0,
    layers: Annotated[bool, typer.Option("--layers", help="Tell the layers that take most at least.")] = False,
    pick: Annotated[
        float | None, typer.Option(help="Name the fastest engine that keeps this accuracy, in percent; needs a run.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Draw the figure into this page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure latency, throughput and memory by engine, precision, batch and threads."""
    asked = _asked(engine, precision, batch, threads, seconds)
    if pick is not None and not (len(networks) == 1 and Path(networks[0]).is_dir() and 0 < pick <= 100):
        raise UsageError("--pick takes an accuracy in percent, and one run whose images tell which engine keeps it")
    if pick is not None and not os.access(networks[0], os.W_OK):
        raise ConvwrightError(
            f"{networks[0]}: --pick keeps the fastest engine's file in the run, which is not writable"
        )
    _check(networks, asked, html)
    from convwright.benchmarking.roofline import measure_machine
    from convwright.display.progress import errors, status_text

    with errors.status("measuring the machine") as status:
        machines = {count: measure_machine(count) for count in asked.threads}
        results = [
            _measured(network, asked, machines, pick, lambda what: status.update(status_text(what)))
            for network in networks
        ]
    benches, chosen = [result for result, _ in results], results[0][1]
    if html is not None:
        from convwright.reporting.bench_page import write_bench_page

        write_bench_page(html, benches, machines)
    found = None if isinstance(chosen, ConvwrightError) else chosen
    if as_json:
        print_json(_object(benches, machines, found), indent=1)
    else:
        echo("\n\n".join(_described(one, layers) for one in benches))
        echo("\n" + "\n".join(_machine(machine) for machine in machines.values()))
        echo(paragraph(NOTE))
        if found is not None:
            echo("\n" + _picked(found, networks[0]))
    if isinstance(chosen, ConvwrightError):  # what was measured is told all the same
        raise chosen
    if all(line.measurement.problem for one in benches for line in one.lines):
        raise ConvwrightError("no engine could be measured; the table says why")


def _asked(
    engine: list[str] | None,
    precision: list[str] | None,
    batch: list[int] | None,
    threads: list[int] | None,
    seconds: float,
) -> "BenchRequest":
    from convwright.benchmarking.benchmark import BenchRequest
    from convwright.benchmarking.measuring import check_precision, engines_named
    from convwright.engines.runner import cores

    precisions, batches, counts = precision or ["f32"], batch or [1], threads or [cores()]
    for option, given in (("--batch", min(batches)), ("--threads", min(counts))):
        if given < 1:
            raise UsageError(f"{option} is 1 or more, not {given}")
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--seconds is more than 0, not {seconds:g}")
    if max(counts) > (most := os.cpu_count() or 1):
        raise UsageError(f"this machine has {most} processor cores; --threads takes 1 to {most}, not {max(counts)}")
    for one in precisions:
        check_precision(one)
    return BenchRequest(engines_named(engine), precisions, batches, counts, seconds)


def _check(networks: list[str], asked: "BenchRequest", html: Path | None) -> None:
    """UsageError for what cannot be measured or written, before minutes are spent on the rest."""
    from convwright.benchmarking.benchmark import is_file

    check_file("--html", html)
    for network in networks:
        if is_file(network):
            if not Path(network).is_file():
                raise UsageError(f"{network}: no such file")
            continue
        read_network(network)
        if not asked.settings():
            engines, precisions = (", ".join(names) for names in ([e.name for e in asked.engines], asked.precisions))
            raise UsageError(f"{network}: nothing to measure, since {engines} does not run {precisions}")


def _measured(
    network: str, asked: "BenchRequest", machines: "dict[int, Machine]", pick: float | None, tell: Any
) -> "tuple[BenchResult, EngineSelection | ConvwrightError | None]":
    from convwright.benchmarking.benchmark import SelectionRequest, bench_file, bench_subject, is_file
    from convwright.engines.selection import fingerprint
    from convwright.exporting import check_images
    from convwright.exporting.quantization import Calibration
    from convwright.exporting.subject import Subject

    if is_file(network):
        return bench_file(Path(network), asked, tell), None
    if (Path(network) / FILE).is_file():
        from convwright.cli.export import load

        before = fingerprint(Path(network))
        predictor, data = load(network, None, None)
        assert data is not None
        check = check_images.of_split(predictor, data, data.val, "validation", check_images.MOST)
        calibration = check_images.calibration(predictor, data) if "int8" in asked.precisions else None
        wanted = None if pick is None else SelectionRequest(pick / 100, Path(network), before)
        subject = Subject(predictor, network)
        return bench_subject(subject, asked, machines, check=check, calibration=calibration, progress=tell, pick=wanted)
    subject = Subject.untrained(read_network(network))
    calibration = None
    if "int8" in asked.precisions:  # of random weights only the time is worth knowing
        photographs = check_images.photographs(subject.predictor, 8)
        calibration = Calibration(photographs.images, photographs, max_drop=1.0)
    return bench_subject(subject, asked, machines, calibration=calibration, progress=tell)


def _described(bench: "BenchResult", layers: bool) -> str:
    from convwright.arch.units import human

    saved = f" ({human(bench.folded_macs)} after folding)" if bench.folded_macs != bench.macs else ""
    head = f"{emphasised(bench.name)}: {human(bench.params)} parameters, {human(bench.macs)} MACs{saved}"
    accuracy = any(line.agreement and line.agreement.accuracy is not None for line in bench.lines)
    titles = ["engine", "precision", "batch", "threads", "median ms", "p95 ms", "images/s", "memory", "x floor"]
    titles += ["accuracy"] if accuracy else []
    blocks = [head, table([*titles, ""], [_row(bench, line, accuracy) for line in bench.lines], left=2)]
    if layers:
        blocks += [_layers(bench, *key) for key in bench.floors]
    return "\n\n".join(blocks)


def _row(bench: "BenchResult", line: "BenchRow", accuracy: bool) -> tuple[str, ...]:
    from convwright.arch.units import human_bytes

    setting, result = line.setting, line.measurement
    first = (setting.engine, setting.precision, str(setting.batch), str(setting.threads))
    if result.problem:
        return (*first, *["-"] * (6 if accuracy else 5), result.problem)
    floor = bench.floor(setting)
    cells = (
        f"{1000 * result.median:.2f}",
        f"{1000 * result.p95:.2f}",
        f"{result.throughput:,.1f}",
        human_bytes(result.memory_bytes),
        "-" if floor is None else f"{result.median / floor:.2f}",
    )
    reached = line.agreement.accuracy if line.agreement else None
    return (*first, *cells, *([f"{reached:.2%}" if reached is not None else "-"] if accuracy else []), "")


def _layers(bench: "BenchResult", batch: int, threads: int, precision: str) -> str:
    from convwright.arch.units import human, human_bytes

    found = bench.floors[batch, threads, precision]
    total = sum(floor.seconds for floor in found)
    rows = [
        (
            floor.path,
            floor.kind,
            human(floor.macs),
            human_bytes(floor.bytes),
            f"{1e6 * floor.seconds:.1f}",
            f"{floor.seconds / total:.1%}",
            floor.bound,
        )
        for floor in sorted(found, key=lambda floor: -floor.seconds)[:MOST_LAYERS]
    ]
    head = f"batch {batch}, {threads} threads, {precision}: a floor of {1000 * total:.2f} ms over {len(found)} layers"
    return f"{head}\n" + table(["layer", "kind", "MACs", "bytes", "floor us", "share", "bound by"], rows, left=2)


def _machine(machine: "Machine") -> str:
    others = "".join(f" ({speed / 1e9:.1f} in {name})" for name, speed in machine.reduced.items())
    return (
        f"this machine, {machine.threads} threads: {machine.macs_per_second / 1e9:.1f} G MACs/s in a matrix product"
        f"{others}, "
        f"{machine.bytes_per_second / 1e9:.1f} GB/s in copying"
    )


def _picked(pick: "EngineSelection", run: str) -> str:
    how = f"{pick.engine}, {pick.precision}, {pick.threads} threads"
    told = f"fastest at {pick.accuracy:.2%}: {how}, {pick.milliseconds:.2f} ms an image"
    if not pick.file:
        return told
    return f"{told}\npredictions use it on this machine from now on: convwright predict {quoted(run)}"


def _object(
    benches: "list[BenchResult]", machines: "dict[int, Machine]", pick: "EngineSelection | None"
) -> dict[str, Any]:
    from convwright.benchmarking.benchmark import as_json

    return {
        "machine": [vars(machine) for machine in machines.values()],
        "networks": [as_json(one) for one in benches],
        "pick": vars(pick) if pick else None,
    }

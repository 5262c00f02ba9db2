"""What `bench` gives: tables of latency by engine and precision, beside the machine's floor, and figures of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.benchmarking.network_bench import BenchRow, NetworkBench, accuracy_in_words, where
from convwright.benchmarking.roofline import Machine
from convwright.benchmarking.selecting import shortfall
from convwright.display.figure_result import FigureResult
from convwright.display.result import Block, Heading, Lines, Paragraph, Table
from convwright.display.table import Row
from convwright.display.wording import counted, short_milliseconds
from convwright.engines.selection import EngineSelection
from convwright.errors import ConvwrightError
from convwright.units import human, human_bytes

if TYPE_CHECKING:
    from convwright.display.figures import Figure

MOST_LAYERS = 12
TITLES = ("engine", "median", "p95", "images/s", "memory", "x floor")
COLUMNS = {"accuracy": "val accuracy", "mean average precision": "val mAP"}
"""Title of the column of accuracies, which are those on validation images."""
NOTE = (
    "Median and 95th percentile are milliseconds for a batch, from uint8 images to logits. Memory is the growth of the "
    "process, or with torch on a GPU that of its tensors. The floor is the sum "
    "over layers of the larger of multiply-adds at the speed of a large matrix product and bytes at the speed of "
    "copying memory; feature maps that stay in the processor's cache can undercut the latter."
)


@dataclass(frozen=True)
class BenchResult(FigureResult):
    """Measurements of one or several networks."""

    networks: tuple[NetworkBench, ...]
    machines: Mapping[int, Machine]
    """Peaks of this machine by number of threads, and those of its GPU."""
    selection: EngineSelection | None = None
    """The engine that predictions of the run use from now on, where one was to be selected."""
    failure: str = ""
    """Why no engine was selected or none could be measured; empty for success."""
    layers: bool = False
    """Whether text and HTML show the layers with the highest floor."""
    run: str = ""
    """The run that keeps the selected engine."""
    wanted: float | None = None
    """Accuracy that the selected engine had to keep, 0 to 1."""

    def check(self) -> None:
        """Raise what made the benchmark fail.

        Raises:
            ConvwrightError: No engine was selected though one was to be, or none could be measured.
        """
        if self.failure:
            raise ConvwrightError(self.failure)

    def to_dict(self) -> dict[str, object]:
        """Return the machine's peaks, all measurements by network, and the selection."""
        return {
            "machine": [machine.to_dict() for machine in self.machines.values()],
            "networks": [network.to_dict() for network in self.networks],
            "selection": self.selection.to_dict() if self.selection else None,
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a table for each network, the machine's peaks, and the selection."""
        for network in self.networks:
            yield Heading(_heading(network))
            yield _table(network)
            if network.accuracy_on:
                yield Paragraph(f"{COLUMNS[network.measure]}: {network.measure} on {network.accuracy_on}")
            if network.overlap:
                yield Paragraph(network.overlap)
            if self.layers and not network.floors:
                yield Paragraph("floors by layer are not known: for exported files, and networks without an export")
            if self.layers:
                for (batch, threads, precision), found in network.floors.items():
                    total = sum(floor.seconds for floor in found)
                    yield Lines(
                        f"{_setting(precision, batch, threads)}: a floor of {1000 * total:.2f} ms over "
                        f"{counted(len(found), 'layer')}"
                    )
                    yield _layers(network, (batch, threads, precision))
        yield from (Paragraph(_peaks(machine)) for machine in self.machines.values())
        yield Paragraph(NOTE)
        if self.selection is not None:
            yield Lines(self._selected(self.selection))
        elif self.failure:
            yield Paragraph(self.failure)

    def _selected(self, chosen: EngineSelection) -> str:
        same = chosen.precision, chosen.threads, chosen.accuracy
        rows = [row for network in self.networks for row in network.measured if row.accuracy is not None]
        found = [row for row in rows if (row.setting.precision, row.setting.threads, row.accuracy) == same]
        accuracy = accuracy_in_words(found[0]) if found else f"{chosen.accuracy:.2%}"
        text = (
            f"fastest at {accuracy}: {chosen.engine}, {chosen.precision}, "
            f"{where(chosen.threads)}, {chosen.milliseconds:.2f} ms an image"
        )
        if found and self.wanted is not None and (reason := shortfall(found[0], self.wanted)):
            text += f"\n{reason}"
        if not chosen.file:
            return text
        return f"{text}\npredictions use it on this machine from now on: `cw.predict({str(self.run)!r})`"

    @property
    def title(self) -> str:
        """Heading of the page."""
        return "Latency by engine"

    @property
    def summary(self) -> str:
        """The fastest engine of each network in a sentence."""
        found = []
        for network in self.networks:
            if measured := network.measured:
                best = min(measured, key=lambda row: row.measurement.median / row.setting.batch)
                milliseconds = 1000 * best.measurement.median / best.setting.batch
                found.append(
                    f"{network.name}: {milliseconds:.3g} ms an image at best, with {best.setting.engine} in "
                    f"{best.setting.precision}"
                )
        return "; ".join(found) + "." if found else "No engine could be measured."

    def figures(self) -> "Sequence[Figure]":
        """Return one figure: latency by engine beside the floor, a plot for each network."""
        from convwright.benchmarking.figures import latency_figure

        return [latency_figure(self.networks)]

    def save_html(self, path: str | Path) -> None:
        """Write figures and tables as one HTML file that needs no network.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.benchmarking.page import write_page

        write_page(Path(path), self)


def _heading(network: NetworkBench) -> str:
    folded = f" ({human(network.folded_macs)} after folding)" if network.folded_macs != network.macs else ""
    return f"{network.name}: {human(network.params)} parameters, {human(network.macs)} MACs{folded}"


def _table(network: NetworkBench) -> Table:
    accuracy = any(row.accuracy is not None for row in network.rows)
    titles = [*TITLES, *[COLUMNS[network.measure]] * accuracy, ""]
    rows: list[Row] = []
    groups = groupby(network.rows, lambda row: (row.setting.precision, row.setting.batch, row.setting.threads))
    for key, members in groups:
        rows += [_setting(*key), *(_cells(network, row, accuracy) for row in members)]
    return Table(titles, rows)


def _setting(precision: str, batch: int, threads: int) -> str:
    return f"{precision}, batch {batch}, {where(threads)}"


def _cells(network: NetworkBench, row: BenchRow, accuracy: bool) -> tuple[str, ...]:
    setting, result = row.setting, row.measurement
    if result.problem:
        return (setting.engine, *["-"] * (6 if accuracy else 5), result.problem)
    busy = f"the machine was busy: {result.doubt}" if result.doubt else ""
    floor = network.floor(setting)
    cells = (
        short_milliseconds(result.median),
        short_milliseconds(result.p95),
        f"{result.throughput:,.1f}",
        "-" if result.memory_bytes is None else human_bytes(result.memory_bytes),
        "-" if floor is None else f"{result.median / floor:.2f}",
    )
    reached = "-" if row.accuracy is None else f"{row.accuracy:.2%}"
    return (setting.engine, *cells, *([reached] if accuracy else []), busy)


def _layers(network: NetworkBench, key: tuple[int, int, str]) -> Table:
    found = network.floors[key]
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
    return Table(("layer", "kind", "MACs", "bytes", "floor us", "share", "bound by"), rows, left=2)


def _peaks(machine: Machine) -> str:
    others = "".join(f" ({speed / 1e9:,.1f} in {name})" for name, speed in machine.reduced.items())
    place, speed = machine.gpu or where(machine.threads), machine.macs_per_second / 1e9
    return (
        f"this machine, {place}: {speed:,.1f} G MACs/s in a matrix product{others}, "
        f"{machine.bytes_per_second / 1e9:,.1f} GB/s in copying"
    )

"""The measurements of one network, beside the floor that the machine sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convwright.benchmarking.job import GPU, Setting
from convwright.benchmarking.measuring import Measurement
from convwright.benchmarking.roofline import Floor
from convwright.display.wording import counted
from convwright.exporting.agreement import Agreement


@dataclass(frozen=True)
class BenchRow:
    """One measurement, and how well the backend agrees with the network where images are available."""

    measurement: Measurement
    agreement: Agreement | None = None

    @property
    def setting(self) -> Setting:
        """How the network was run."""
        return self.measurement.setting

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the images, 0 to 1, or mean average precision; None without labels or a measurement."""
        return self.agreement.accuracy if self.agreement else None


def accuracy_in_words(row: BenchRow) -> str:
    """Return a row's accuracy, with its interval and the number of images."""
    if row.agreement is None or row.accuracy is None:
        return "unknown"
    on = counted(row.agreement.images, "image")
    if row.agreement.interval is None:
        return f"{row.accuracy:.2%} (on {on})"
    low, high = row.agreement.interval
    return f"{row.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, on {on})"


def where(threads: int) -> str:
    """Return what computes in a setting: a number of threads, or the GPU."""
    return "GPU" if threads == GPU else counted(threads, "thread")


@dataclass(frozen=True)
class NetworkBench:
    """All measurements of one network."""

    name: str
    params: int
    macs: int
    """Multiply-adds of one image, in the network as it is described."""
    folded_macs: int
    """Multiply-adds of one image after folding."""
    rows: tuple[BenchRow, ...]
    floors: Mapping[tuple[int, int, str], Sequence[Floor]]
    """Floor of each layer by batch, threads and precision; empty for a network that cannot be exported."""
    accuracy_on: str = ""
    """The images that accuracies are measured on, in words: a sample of the validation images; empty without."""
    overlap: str = ""
    """A sentence on validation images that the network was trained on as well; empty where there are none."""

    @property
    def measure(self) -> str:
        """What `accuracy` of the rows is: accuracy, or mean average precision."""
        return next((row.agreement.measure for row in self.rows if row.agreement), "accuracy")

    @property
    def measured(self) -> tuple[BenchRow, ...]:
        """The rows without a problem."""
        return tuple(row for row in self.rows if not row.measurement.problem)

    def floor(self, setting: Setting) -> float | None:
        """Return the lowest time of a batch in seconds; None where the floor is not known."""
        found = self.floors.get((setting.batch, setting.threads, setting.precision))
        return sum(floor.seconds for floor in found) if found else None

    def compute_floor(self, setting: Setting) -> float | None:
        """Return the time of the multiply-adds alone at the matrix product's speed, in seconds."""
        found = self.floors.get((setting.batch, setting.threads, setting.precision))
        return sum(floor.compute for floor in found) if found else None

    def to_dict(self) -> dict[str, object]:
        """Return all measurements and floors as values that JSON can hold."""
        return {
            "network": self.name,
            "params": self.params,
            "macs": self.macs,
            "folded_macs": self.folded_macs,
            "accuracy_on": self.accuracy_on or None,
            "overlap": self.overlap or None,
            "engines": [self._row(row) for row in self.rows],
            "layers": {
                f"batch {batch}, {where(threads)}, {precision}": [floor.to_dict() for floor in found]
                for (batch, threads, precision), found in self.floors.items()
            },
        }

    def _row(self, row: BenchRow) -> dict[str, object]:
        result = row.measurement
        if result.problem:
            return row.setting.to_dict() | {"problem": result.problem}
        floor, compute = self.floor(row.setting), self.compute_floor(row.setting)
        return (
            row.setting.to_dict()
            | {
                "median_ms": 1000 * result.median,
                "p95_ms": 1000 * result.p95,
                "doubt": result.doubt or None,
                "images_per_second": result.throughput,
                "memory_bytes": result.memory_bytes,
                "load_seconds": result.load_seconds,
                "floor_ms": None if floor is None else 1000 * floor,
                "compute_floor_ms": None if compute is None else 1000 * compute,
            }
            | (row.agreement.to_dict() if row.agreement else {})
        )

"""Selection of the fastest engine that reaches an accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convwright.benchmarking.backends import backends
from convwright.benchmarking.network_bench import BenchRow, accuracy_in_words
from convwright.engines.card_reading import read_card
from convwright.engines.checksum import weights_file
from convwright.engines.selection import EngineSelection, keep_selection, machine_name
from convwright.errors import ConvwrightError


@dataclass(frozen=True)
class SelectionRequest:
    """A run that is to keep its fastest engine."""

    accuracy: float
    """Lowest accuracy that the engine must keep, 0 to 1."""
    run: Path
    fingerprint: dict[str, str]
    """`engines.selection.fingerprint` of the run before it was loaded."""


def fastest(rows: Sequence[BenchRow], accuracy: float) -> BenchRow:
    """Return the row with the lowest time of an image that reaches an accuracy.

    Args:
        rows: Measurements with accuracies.
        accuracy: Lowest accuracy, 0 to 1.

    Raises:
        ConvwrightError: No row reaches it.
    """
    measured = [row for row in rows if row.accuracy is not None]
    able = [row for row in rows if row.accuracy is not None and row.accuracy >= accuracy]
    if not able:
        best = "none could be measured"
        if measured:
            best = f"the best reaches {accuracy_in_words(max(measured, key=lambda row: row.accuracy or 0.0))}"
        measure = next((f"a {row.agreement.measure}" for row in rows if row.agreement), "").replace("a a", "an a")
        raise ConvwrightError(f"no engine reaches {measure or 'an accuracy'} of {accuracy:.2%}: {best}")
    return min(able, key=lambda row: row.measurement.median / row.setting.batch)


def save_selection(run: Path, folder: Path, best: BenchRow, before: dict[str, str]) -> EngineSelection:
    """Keep the file of the fastest engine in the run directory.

    Args:
        run: The run directory.
        folder: Folder with the file in every format, as `prepared` has written it.
        best: The selected row; it has an accuracy.
        before: `fingerprint` of the run before it was loaded.

    Raises:
        ConvwrightError: The run directory could not be written.
    """
    setting = best.setting
    assert best.accuracy is not None
    backend = backends()[setting.engine]
    file = folder / f"{'int8' if setting.precision == 'int8' else 'f32'}{backend.suffix}" if backend.suffix else None
    beside = weights_file(file) if file else None
    selection = EngineSelection(
        file.name if file else "",
        backend.engine or setting.engine,
        setting.precision,
        setting.threads,
        1000 * best.measurement.median / setting.batch,
        best.accuracy,
        before,
        read_card(file).checksum if file else "",
        machine_name(),
    )
    return keep_selection(run, [path for path in (file, beside) if path is not None], selection)

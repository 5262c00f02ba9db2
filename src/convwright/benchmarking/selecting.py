"""Selection of the fastest engine that reaches an accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convwright.benchmarking.backends import backends
from convwright.benchmarking.network_bench import BenchRow, accuracy_in_words
from convwright.display.wording import counted
from convwright.engines.card_reading import read_card
from convwright.engines.checksum import weights_file
from convwright.engines.runner import cores
from convwright.engines.selection import EngineSelection, keep_selection, machine_name
from convwright.errors import ConvwrightError


@dataclass(frozen=True)
class SelectionRequest:
    """A run that is to keep its fastest engine."""

    accuracy: float
    """Accuracy that the engine must keep, 0 to 1."""
    run: Path
    fingerprint: dict[str, str]
    """`engines.selection.fingerprint` of the run before it was loaded."""


def keeps(row: BenchRow, accuracy: float) -> bool:
    """Return whether an engine keeps an accuracy.

    Where the network itself has the accuracy on the images, an engine below it is refused only if the whole 95 %
    interval of what it loses, image by image, is above what it may lose: a few images that it predicts otherwise are no
    evidence of a loss.

    Args:
        row: A measurement.
        accuracy: The accuracy, 0 to 1.
    """
    agreement = row.agreement
    if agreement is None or agreement.accuracy is None:
        return False
    if agreement.accuracy >= accuracy or agreement.reference is None or agreement.lost is None:
        return agreement.accuracy >= accuracy
    return agreement.reference >= accuracy and agreement.lost[1] <= agreement.reference - accuracy


def shortfall(row: BenchRow, accuracy: float) -> str:
    """Return a sentence on why an engine that is below an accuracy keeps it; empty for one that reaches it."""
    agreement = row.agreement
    if agreement is None or agreement.accuracy is None or agreement.lost is None or agreement.accuracy >= accuracy:
        return ""
    lost, low, high = (100 * share for share in agreement.lost)
    return (
        f"this is below {accuracy:.2%}, which the network itself reaches, by no more than chance explains: "
        f"{lost:.2f} points are lost on {counted(agreement.images, 'image')} (95 % interval {low:.2f} to {high:.2f})"
    )


def fastest(rows: Sequence[BenchRow], accuracy: float) -> BenchRow:
    """Return the row with the lowest time of an image that keeps an accuracy.

    Args:
        rows: Measurements with accuracies.
        accuracy: The accuracy, 0 to 1.

    Raises:
        ConvwrightError: No row keeps it.
    """
    measured = [row for row in rows if row.accuracy is not None]
    able = [row for row in rows if keeps(row, accuracy)]
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
        setting.threads or cores(),
        1000 * best.measurement.median / setting.batch,
        best.accuracy,
        before,
        read_card(file).checksum if file else "",
        machine_name(),
    )
    return keep_selection(run, [path for path in (file, beside) if path is not None], selection)

"""An exported file kept in its run, so that the run's predictions use it where it is faster than torch."""

from contextlib import suppress
from pathlib import Path

from convwright.engines.registry import fastest_engine
from convwright.engines.runner import cores
from convwright.engines.selection import EngineSelection, current_selection, keep_selection, machine_name
from convwright.errors import ConvwrightError, UsageError
from convwright.exporting.result import ExportResult


def keep_export(
    run: Path, exported: ExportResult, torch_milliseconds: float, before: dict[str, str]
) -> EngineSelection | None:
    """Keep an exported file in its run if it predicts faster than torch and than the file that is kept already.

    Only files in float are kept, whose predictions are the run's own up to rounding. A selection by `bench` stays.

    Args:
        run: The run directory.
        exported: The export.
        torch_milliseconds: Time of the run in torch, for one image.
        before: `fingerprint` of the run before it was loaded.

    Returns:
        The selection; None if the file was not kept.
    """
    times = exported.milliseconds
    engine = fastest_engine(exported.card.verified, times)
    accuracy = exported.agreements[engine].accuracy if engine else None
    if engine is None or accuracy is None or exported.card.precision != "f32":
        return None
    kept = None
    with suppress(UsageError):  # a damaged one is replaced
        kept = current_selection(run)
    if times[engine] >= torch_milliseconds or (kept and (kept.requested or kept.milliseconds <= times[engine])):
        return None
    selection = EngineSelection(
        f"f32{exported.path.suffix}",
        engine,
        "f32",
        cores(),
        times[engine],
        accuracy,
        before,
        exported.card.checksum,
        machine_name(),
        requested=False,
    )
    with suppress(ConvwrightError):  # the run may belong to another user
        return keep_selection(run, exported.files, selection)
    return None

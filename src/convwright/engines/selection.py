"""The engine that a run was found to be fastest in on this machine, remembered in its directory. No torch in here."""

import platform
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright import json_text
from convwright.arch.node import LARGEST_NUMBER, fits
from convwright.engines.card import Card, is_digest
from convwright.engines.card_reading import read_card
from convwright.engines.registry import FILE_ENGINES, SUFFIXES, WEIGHTS, check_file_digest, fastest_engine
from convwright.engines.runner import cores
from convwright.errors import ConvwrightError, UsageError
from convwright.extras import installed
from convwright.files import digest, digest_of, new_folder, write_atomically, write_text
from convwright.printable import quoted

if TYPE_CHECKING:
    from convwright.benchmarking.benchmark import BenchRow
    from convwright.exporting.export import Exported

FOLDER, RECORD = "picked", "pick.json"
GUARDED = ("classes.json", "data.json", "network.json", "model.safetensors")
"""Files of a run whose every change makes its pick useless."""
_OLD_FIELDS = frozenset(
    ("file", "engine", "precision", "threads", "milliseconds", "accuracy", "weights", "machine", "asked")
)
"""Fields of records of earlier versions, without checksums. A choice by `bench --pick` among them is reported."""


@dataclass(frozen=True)
class EngineSelection:
    """An exported file of a run, the engine and threads to run it with, and why."""

    file: str
    """Inside the run's folder `picked`; empty where torch with the run's own weights was fastest."""
    engine: str
    precision: str
    threads: int
    milliseconds: float
    """Median for an image."""
    accuracy: float
    run: dict[str, str]
    """Digests of the run's files that it was made from, by name (see `fingerprint`)."""
    seal: str
    """Seal of the kept file's card; empty without a file."""
    machine: str
    asked: bool = True
    """Was it chosen by `bench --pick`, or kept because an export turned out to be quicker than torch?"""


def machine() -> str:
    """Name this machine well enough to tell whether a pick was made on it."""
    return f"{platform.node()} {platform.machine()} {cores()}"


def fingerprint(run: Path) -> dict[str, str]:
    """Return the digests of the files that decide what a run predicts; empty ones for files that are not there.

    Take it before the run is loaded: a run that is trained on meanwhile then differs from what was measured.
    """
    found = dict.fromkeys(GUARDED, "")
    for name in GUARDED:
        with suppress(OSError):
            found[name] = digest(run / name)
    return found


def save_selection(run: Path, folder: Path, best: "BenchRow", before: dict[str, str]) -> EngineSelection:
    """Keep the file of the fastest line in the run directory.

    Args:
        run: The run directory.
        folder: Folder with the file in every format, as `prepared` has written it.
        best: The measurement that was picked.
        before: `fingerprint` of the run before it was loaded.

    Raises:
        ConvwrightError: The run directory could not be written.
    """
    setting, agreement = best.setting, best.agreement
    assert agreement is not None
    assert agreement.accuracy is not None
    suffix = best.suffix
    stem = "int8" if setting.precision == "int8" else "f32"
    name = f"{stem}{suffix}" if suffix else ""
    files = [path for path in folder.glob(f"{stem}.*") if suffix and path.suffix in (suffix, WEIGHTS.get(suffix))]
    pick = EngineSelection(
        name,
        setting.engine.replace("torch-folded", "torch"),
        setting.precision,
        setting.threads,
        1000 * best.measurement.median / setting.batch,
        agreement.accuracy,
        before,
        read_card(folder / name).seal if name else "",
        machine(),
    )
    return _keep(run, files, pick)


def keep_export(
    run: Path, exported: "Exported", torch_milliseconds: float, before: dict[str, str]
) -> EngineSelection | None:
    """Keep an exported file in its run if it predicts faster than torch and than what is kept; else return None.

    Only files in float, whose predictions are the run's own up to rounding, and never in the place of what was
    chosen by `bench --pick`.

    Args:
        run: The run directory.
        exported: What was exported of it.
        torch_milliseconds: Time of the run in torch, for one image.
        before: `fingerprint` of the run before it was loaded.
    """
    times = exported.card.verified["engines"]
    engine = fastest_engine(exported.card.verified, list(times))
    accuracy = exported.agreements[engine].accuracy if engine else None
    if engine is None or accuracy is None or exported.card.precision != "f32":
        return None
    milliseconds = times[engine]["milliseconds"]
    kept = None
    with suppress(UsageError):  # a damaged one is replaced
        kept = _current(run)
    if milliseconds >= torch_milliseconds or (kept and (kept.asked or kept.milliseconds <= milliseconds)):
        return None
    name, seal = f"f32{exported.path.suffix}", exported.card.seal
    pick = EngineSelection(name, engine, "f32", cores(), milliseconds, accuracy, before, seal, machine(), asked=False)
    with suppress(ConvwrightError):  # the run may be one that others own
        return _keep(run, list(exported.files), pick)
    return None


def _keep(run: Path, files: list[Path], pick: EngineSelection) -> EngineSelection:
    """Copy the files into the run under the pick's name, with the record, in the place of what was kept before."""
    with new_folder(run / FOLDER, replace=True) as folder:
        for path in files:
            write_atomically(folder / Path(pick.file).with_suffix(path.suffix), partial(shutil.copyfile, path))
        if pick.file:
            _check_copy(folder / pick.file, pick)
        write_text(folder / RECORD, _record(pick))
    return pick


def _check_copy(path: Path, pick: EngineSelection) -> None:
    """Check that a copied file is the one that was measured. UsageError if another export has replaced it meanwhile."""
    card = read_card(path)
    check_file_digest(path, card)
    if card.seal != pick.seal:
        raise UsageError(f"{path.name} was replaced by another export while it was kept")


def find_selection(run: Path) -> tuple[EngineSelection, Path] | None:
    """Return a run's pick and its file, if it was made on this machine and can run.

    The file itself is checked when it is opened, and then by `check_selected_file`.

    Raises:
        UsageError: The record is damaged, or the run has changed since.
    """
    pick = _current(run)
    engine = FILE_ENGINES.get(pick.engine) if pick else None
    if pick is None or not pick.file or engine is None or not installed(engine.package):
        return None
    return pick, run / FOLDER / pick.file


def check_selected_file(pick: EngineSelection, card: Card, run: Path) -> None:
    """Check that the file that was opened is the one that was picked. UsageError if it is another export."""
    if card.seal != pick.seal:
        raise UsageError(f"{run / FOLDER / pick.file}: not the file that was picked; {_anew(run)}")


def _current(run: Path) -> EngineSelection | None:
    """Return the run's pick if it was made on this machine. UsageError if it is damaged or the run has changed."""
    record = run / FOLDER / RECORD
    if not record.is_file():
        return None
    stored = json_text.read(record)
    if isinstance(stored, dict) and stored.keys() == _OLD_FIELDS:
        if stored["asked"] is True:
            raise UsageError(f"{record}: written by an earlier version, without checksums; {_anew(run)}")
        return None
    pick = _pick(stored)
    try:
        written = pick is not None and record.read_text(encoding="utf-8") == _record(pick)
    except (OSError, ValueError):
        written = False
    if pick is None or not written:
        raise UsageError(f"{record}: damaged or edited; {_anew(run)}")
    if pick.machine != machine():
        return None
    now = fingerprint(run)
    if changed := [name for name in GUARDED if now[name] != pick.run[name]]:
        raise UsageError(f"{record}: the run's {' and '.join(changed)} changed since; {_anew(run)}")
    return pick


def _anew(run: Path) -> str:
    return f"pick an engine anew: convwright bench {quoted(run)} --pick PERCENT"


def _record(pick: EngineSelection) -> str:
    """Return the content of the file that records a pick, with a checksum."""
    values = asdict(pick)
    checksum = digest_of(json_text.dump(values, ascii_only=True).encode())
    return json_text.dump(values | {"checksum": checksum}, indent=1, ascii_only=True) + "\n"


def _pick(stored: Any) -> EngineSelection | None:
    """Return the pick that parsed JSON holds; None if a field is missing, of another type or out of its range."""
    names = [each.name for each in fields(EngineSelection)]
    if not isinstance(stored, dict) or stored.keys() != {*names, "checksum"}:
        return None
    pick = EngineSelection(**{name: stored[name] for name in names})
    texts = (pick.engine, pick.precision, pick.machine)
    numbers = (pick.milliseconds, pick.accuracy)
    sound = (
        all(isinstance(text, str) for text in texts)
        and type(pick.threads) is int
        and 1 <= pick.threads <= LARGEST_NUMBER
        and all(fits(number, float) and 0 <= number <= LARGEST_NUMBER for number in numbers)
        and isinstance(pick.run, dict)
        and pick.run.keys() == set(GUARDED)
        and all(is_digest(each) for each in (*pick.run.values(), pick.seal))
        and type(pick.asked) is bool
        and _is_name(pick.file)
    )
    return pick if sound else None


def _is_name(value: object) -> bool:
    """Whether this names an exported file in the folder itself, or none."""
    return isinstance(value, str) and (not value or (Path(value).name == value and Path(value).suffix in SUFFIXES))

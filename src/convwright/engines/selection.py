"""The engine in which a run was found to predict fastest on this machine, kept in its directory. No torch in here."""

import platform
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from convwright import json_text
from convwright.arch.node import LARGEST_NUMBER, fits
from convwright.engines.card import Card, is_checksum
from convwright.engines.card_reading import read_card
from convwright.engines.checksum import check_checksums
from convwright.engines.engine import SUFFIXES
from convwright.engines.registry import find_engine
from convwright.engines.runner import cores
from convwright.errors import UsageError
from convwright.files import digest, digest_of, new_folder, write_atomically, write_text

FOLDER, RECORD = "picked", "pick.json"
"""Folder of a run that keeps the engine's file, and the file in it that records the selection."""
GUARDED = ("classes.json", "data.json", "network.json", "model.safetensors")
"""Files of a run; a change of any of them invalidates the selection."""
_EARLIER_FIELDS = frozenset(
    ("file", "engine", "precision", "threads", "milliseconds", "accuracy", "weights", "machine", "asked")
)
"""Fields of records of earlier versions, without checksums. One that `bench --select` wrote is reported."""
_STORED = {"checksum": "seal", "requested": "asked"}
"""Names in the record of the fields whose names differ there."""


@dataclass(frozen=True)
class EngineSelection:
    """An exported file of a run, and the engine, precision and threads to run it with."""

    file: str
    """Name in the run's folder `picked`; empty where torch with the run's own weights was fastest."""
    engine: str
    precision: str
    threads: int
    milliseconds: float
    """Median time of one image."""
    accuracy: float
    run: Mapping[str, str]
    """Checksums of the run's files that the selection was made for, by name (see `fingerprint`)."""
    checksum: str
    """Checksum in the file's card; empty without a file."""
    machine: str
    """The machine that it was made on (see `machine_name`)."""
    requested: bool = True
    """Whether `bench` selected it; else an export turned out to be faster than torch."""

    def to_dict(self) -> dict[str, object]:
        """Return all fields as values that JSON can hold, under the names that the record has."""
        return {_STORED.get(name, name): value for name, value in vars(self).items()}


def machine_name() -> str:
    """Return a name of this machine; a selection that was made on a machine of another name is not used."""
    return f"{platform.node()} {platform.machine()} {cores()}"


def fingerprint(run: Path) -> dict[str, str]:
    """Return the checksums of the files that decide what a run predicts; empty for files that do not exist.

    Take it before the run is loaded: if the run is trained further meanwhile, its files no longer match.
    """
    found = dict.fromkeys(GUARDED, "")
    for name in GUARDED:
        with suppress(OSError):
            found[name] = digest(run / name)
    return found


def keep_selection(run: Path, files: Sequence[Path], selection: EngineSelection) -> EngineSelection:
    """Copy an engine's files into a run, with the record, instead of an earlier selection.

    Args:
        run: The run directory.
        files: The exported file and its weights file; none where torch is fastest. The copies get the selection's name.
        selection: The selection.

    Returns:
        The selection.

    Raises:
        ConvwrightError: The run directory could not be written, or the file is not the one that was measured.
    """
    with new_folder(run / FOLDER, replace=True) as folder:
        for path in files:
            write_atomically(folder / Path(selection.file).with_suffix(path.suffix), partial(shutil.copyfile, path))
        if selection.file:
            _check_copy(folder / selection.file, selection)
        write_text(folder / RECORD, _record(selection))
    return selection


def _check_copy(path: Path, selection: EngineSelection) -> None:
    card = read_card(path)
    check_checksums(path, card)
    if card.checksum != selection.checksum:
        raise UsageError(f"{path.name} was replaced by another export while it was copied")


def find_selection(run: Path) -> tuple[EngineSelection, Path] | None:
    """Return a run's selection and its file, if it was made on this machine and its engine is installed.

    The file itself is checked when it is opened, and then by `check_selected_file`.

    Args:
        run: The run directory.

    Raises:
        UsageError: The record is damaged, or the run has changed since.
    """
    selection = current_selection(run)
    engine = find_engine(selection.engine) if selection and selection.file else None
    if selection is None or engine is None or not engine.usable():
        return None
    return selection, run / FOLDER / selection.file


def check_selected_file(selection: EngineSelection, card: Card, run: Path) -> None:
    """Check that the file that was opened is the selected one.

    Raises:
        UsageError: It is another export.
    """
    if card.checksum != selection.checksum:
        raise UsageError(f"{run / FOLDER / selection.file}: not the file that was selected; {_advice(run)}")


def current_selection(run: Path) -> EngineSelection | None:
    """Return the selection of a run if it was made on this machine, whether or not its engine is installed.

    Raises:
        UsageError: The record is damaged, or the run has changed since.
    """
    record = run / FOLDER / RECORD
    if not record.is_file():
        return None
    stored = json_text.read(record)
    if isinstance(stored, dict) and stored.keys() == _EARLIER_FIELDS:
        if stored["asked"] is True:
            raise UsageError(f"{record}: written by an earlier version, without checksums; {_advice(run)}")
        return None
    selection = _selection(stored)
    try:
        intact = selection is not None and record.read_text(encoding="utf-8") == _record(selection)
    except (OSError, ValueError):
        intact = False
    if selection is None or not intact:
        raise UsageError(f"{record}: damaged or edited; {_advice(run)}")
    if selection.machine != machine_name():
        return None
    now = fingerprint(run)
    if changed := [name for name in GUARDED if now[name] != selection.run[name]]:
        raise UsageError(f"{record}: the run's {' and '.join(changed)} changed since; {_advice(run)}")
    return selection


def _advice(run: Path) -> str:
    return f"select an engine again: `cw.bench({str(run)!r}, select=PERCENT)`"


def _record(selection: EngineSelection) -> str:
    """Return the content of the file that records a selection, with a checksum."""
    values = selection.to_dict()
    checksum = digest_of(json_text.dump(values, ascii_only=True).encode())
    return json_text.dump(values | {"checksum": checksum}, indent=1, ascii_only=True) + "\n"


def _selection(stored: object) -> EngineSelection | None:
    """Return the selection that parsed JSON holds; None if a field is missing, has another type or is out of range."""
    names = {each.name: _STORED.get(each.name, each.name) for each in fields(EngineSelection)}
    if not isinstance(stored, dict) or stored.keys() != {*names.values(), "checksum"}:
        return None
    selection = EngineSelection(**{name: stored[key] for name, key in names.items()})
    texts = (selection.engine, selection.precision, selection.machine)
    numbers = (selection.milliseconds, selection.accuracy)
    valid = (
        all(isinstance(text, str) for text in texts)
        and type(selection.threads) is int
        and 1 <= selection.threads <= LARGEST_NUMBER
        and all(fits(number, float) and 0 <= number <= LARGEST_NUMBER for number in numbers)
        and isinstance(selection.run, dict)
        and selection.run.keys() == set(GUARDED)
        and all(is_checksum(each) for each in (*selection.run.values(), selection.checksum))
        and type(selection.requested) is bool
        and _is_name(selection.file)
    )
    return selection if valid else None


def _is_name(value: object) -> bool:
    """Return whether a value names an exported file in the folder itself, or is empty."""
    return isinstance(value, str) and (not value or (Path(value).name == value and Path(value).suffix in SUFFIXES))

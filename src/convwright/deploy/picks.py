"""The engine that a run was found to be fastest in on this machine, remembered in its directory. No torch in here."""

import json
import platform
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright.deploy.engines import FILE_ENGINES, WEIGHTS, cores, quickest
from convwright.deploy.packages import installed
from convwright.errors import UsageError
from convwright.files import digest

if TYPE_CHECKING:
    from convwright.deploy.bench import Line
    from convwright.deploy.export import Exported

FOLDER, RECORD = "picked", "pick.json"


@dataclass(frozen=True)
class Pick:
    """An exported file of a run, the engine and threads to run it with, and why."""

    file: str
    """Inside the run's folder `picked`; empty where torch with the run's own weights was fastest."""
    engine: str
    precision: str
    threads: int
    milliseconds: float
    """Median for an image."""
    accuracy: float
    weights: str
    """Digest of the run's weights that it was made from."""
    machine: str
    asked: bool = True
    """Was it chosen by `bench --pick`, or kept because an export turned out to be quicker than torch?"""


def machine() -> str:
    """Name this machine well enough to tell whether a pick was made on it."""
    return f"{platform.node()} {platform.machine()} {cores()}"


def save_pick(run: Path, folder: Path, best: "Line") -> Pick:
    """Keep the fastest line's file in the run directory; the record is written last."""
    from convwright.deploy.measuring import ENGINES

    setting, agreement = best.setting, best.agreement
    assert agreement is not None
    assert agreement.accuracy is not None
    suffix = ENGINES[setting.engine].suffix
    stem = "int8" if setting.precision == "int8" else "f32"
    name = f"{stem}{suffix}" if suffix else ""
    files = [path for path in folder.glob(f"{stem}.*") if suffix and path.suffix in (suffix, WEIGHTS.get(suffix))]
    pick = Pick(
        name,
        setting.engine.replace("torch-folded", "torch"),
        setting.precision,
        setting.threads,
        1000 * best.measurement.median / setting.batch,
        agreement.accuracy,
        digest(run / "model.safetensors"),
        machine(),
    )
    return _keep(run, files, pick)


def keep_export(run: Path, exported: "Exported", torch_milliseconds: float) -> Pick | None:
    """Keep an exported file in its run if it answers quicker than torch and than what is kept; else return None.

    Only files in float, whose answers are the run's own up to rounding, and never in the place of what was asked for.
    """
    times = exported.card.verified["engines"]
    engine = quickest(exported.card.verified, list(times))
    accuracy = exported.agreements[engine].accuracy if engine else None
    if engine is None or accuracy is None or exported.card.precision != "f32":
        return None
    milliseconds = times[engine]["milliseconds"]
    before = None
    with suppress(UsageError):  # a damaged one is replaced
        before = find_pick(run)
    if milliseconds >= torch_milliseconds or (before and (before[0].asked or before[0].milliseconds <= milliseconds)):
        return None
    name = f"f32{exported.path.suffix}"
    weights = digest(run / "model.safetensors")
    pick = Pick(name, engine, "f32", cores(), milliseconds, accuracy, weights, machine(), asked=False)
    with suppress(OSError):  # the run may be one that others own
        return _keep(run, list(exported.files), pick)
    return None


def _keep(run: Path, files: list[Path], pick: Pick) -> Pick:
    """Copy the files into the run under the pick's name; the record is written last."""
    from convwright.files import write_text

    kept = run / FOLDER
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for path in files:
        shutil.copy2(path, kept / Path(pick.file).with_suffix(path.suffix))
    write_text(kept / RECORD, json.dumps(asdict(pick), indent=1) + "\n")
    return pick


def find_pick(run: Path) -> tuple[Pick, Path] | None:
    """Return a run's pick and its file, if it was made on this machine, of the weights as they are, and can run.

    UsageError if the record cannot be read. Its file is looked at when it is opened.
    """
    record = run / FOLDER / RECORD
    if not record.is_file():
        return None
    try:
        told: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        pick = Pick(**told)
        path = run / FOLDER / Path(pick.file).name
    except (OSError, ValueError, TypeError):
        raise UsageError(f"{record}: not readable; 'convwright bench {run} --pick' writes it anew") from None
    engine = FILE_ENGINES.get(pick.engine)
    if not pick.file or engine is None or not installed(engine.package) or pick.machine != machine():
        return None
    weights = run / "model.safetensors"
    if not weights.is_file() or pick.weights != digest(weights):
        return None
    return pick, path

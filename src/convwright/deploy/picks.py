"""The engine that a run was found to be fastest in on this machine, remembered in its directory. No torch in here."""

import json
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright.deploy.engines import FILE_ENGINES
from convwright.deploy.packages import installed

if TYPE_CHECKING:
    from convwright.deploy.bench import Line

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


def machine() -> str:
    """Name this machine well enough to tell whether a pick was made on it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.node()} {platform.machine()} {cores}"


def save_pick(run: Path, folder: Path, best: "Line") -> Pick:
    """Keep the fastest line's file in the run directory; the record is written last."""
    from convwright.deploy.measuring import ENGINES
    from convwright.files import write_text

    setting, agreement = best.setting, best.agreement
    assert agreement is not None
    assert agreement.accuracy is not None
    suffix = ENGINES[setting.engine].suffix
    stem = "int8" if setting.precision == "int8" else "f32"
    kept = run / FOLDER
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    if suffix:
        for path in folder.glob(f"{stem}.*"):
            if path.suffix == suffix or (suffix == ".xml" and path.suffix == ".bin"):
                shutil.copy2(path, kept / path.name)
    pick = Pick(
        f"{stem}{suffix}" if suffix else "",
        setting.engine.replace("torch-folded", "torch"),
        setting.precision,
        setting.threads,
        1000 * best.measurement.median / setting.batch,
        agreement.accuracy,
        digest(run / "model.safetensors"),
        machine(),
    )
    write_text(kept / RECORD, json.dumps(asdict(pick), indent=1) + "\n")
    return pick


def find_pick(run: Path) -> tuple[Pick, Path] | None:
    """Return a run's pick and its file, if it was made on this machine, of the weights as they are, and can run."""
    with suppress(OSError, ValueError, TypeError):
        told: dict[str, Any] = json.loads((run / FOLDER / RECORD).read_text(encoding="utf-8"))
        pick = Pick(**told)
        path = run / FOLDER / Path(pick.file).name
        engine = FILE_ENGINES.get(pick.engine)
        fits = pick.file and path.is_file() and engine is not None and installed(engine.package)
        if fits and pick.machine == machine() and pick.weights == digest(run / "model.safetensors"):
            return pick, path
    return None


def digest(path: Path) -> str:
    """Return a digest of a file."""
    with path.open("rb") as file:
        whole = blake2b(digest_size=16)
        while block := file.read(2**20):
            whole.update(block)
    return whole.hexdigest()

"""How fast an engine runs a network: each measurement in a process of its own, so that neither memory nor threads mix.

The parent writes the network in every form that engines read; a child opens one of them and runs it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convwright import json_text
from convwright.engines.registry import FILE_ENGINES
from convwright.engines.runner import cores, has_bf16
from convwright.errors import ConvwrightError, UsageError
from convwright.extras import install_command, installed
from convwright.files import write_bytes, write_text

if TYPE_CHECKING:
    from convwright.exporting.quantization import Calibration
    from convwright.exporting.subject import Subject

ENOUGH_SECONDS, LEAST, MOST = 2.0, 10, 300
"""A measurement ends when it has taken so long, but not before `LEAST` runs."""
TIME_LIMIT = 600
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Engine:
    """A way to run a network, and what it reads of the folder that the parent has written."""

    name: str
    package: str
    precisions: tuple[str, ...]
    suffix: str = ""
    """Of the exported file that it opens; empty: it runs the module as it was trained."""


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("torch", "torch", ("f32", "bf16")),
        Engine("torch-channels-last", "torch", ("f32", "bf16")),
        Engine("torch-compile", "torch", ("f32", "bf16")),
        Engine("torch-folded", "torch", ("f32", "bf16"), ".safetensors"),
        Engine("onnxruntime", "onnxruntime", ("f32", "int8"), ".onnx"),
        Engine("openvino", "openvino", ("f32", "bf16", "int8"), ".xml"),
    )
}
"""Every engine, in the order in which tables list them."""
PRECISIONS = ("f32", "bf16", "int8")


@dataclass(frozen=True)
class Setting:
    """How an engine is asked to run."""

    engine: str
    precision: str = "f32"
    batch: int = 1
    threads: int = field(default_factory=cores)


@dataclass(frozen=True)
class Measurement:
    """What one engine took for a batch, in seconds; what it answered, where images were given."""

    setting: Setting
    seconds: tuple[float, ...] = ()
    load_seconds: float = 0.0
    memory_bytes: int = 0
    """By which the process grew from before the network was loaded to its peak."""
    logits: np.ndarray | None = field(default=None, compare=False)
    problem: str = ""
    """Why there is nothing else here."""

    @property
    def median(self) -> float:
        """Median time of a batch, in seconds."""
        return float(np.median(self.seconds))

    @property
    def p95(self) -> float:
        """Time that 95 % of the batches kept."""
        return float(np.percentile(self.seconds, 95))

    @property
    def throughput(self) -> float:
        """Images a second."""
        return self.setting.batch / self.median


def engines_named(names: Sequence[str] | None) -> list[Engine]:
    """Return engines by their names; all that are at hand by default. UsageError for one that is not."""
    if names is None:
        return [engine for engine in ENGINES.values() if installed(engine.package)]
    for name in names:
        if name not in ENGINES:
            raise UsageError(f"no engine {name!r}; there are {', '.join(ENGINES)}")
        if not installed(package := ENGINES[name].package):
            raise UsageError(f"the engine {name} needs {package}: {install_command(package)}")
    return [ENGINES[name] for name in names]


def check_precision(precision: str) -> None:
    """UsageError for a precision that is not known, or that this processor has no instructions for."""
    if precision not in PRECISIONS:
        raise UsageError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    if precision == "bf16" and not has_bf16():
        raise UsageError("this processor has no instructions for bf16; take f32 or int8")


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a new folder in the system's temporary one; it is gone afterwards."""
    try:
        made = tempfile.TemporaryDirectory(prefix="convwright-bench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ConvwrightError(f"no temporary folder could be made: {error.strerror}; set TMPDIR to another") from None
    with made as name:
        yield Path(name)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array in numpy's format. ConvwrightError if the file could not be written."""
    content = BytesIO()
    np.save(content, array)
    write_bytes(path, content.getbuffer())


@contextmanager
def prepared(
    subject: "Subject", engines: Sequence[Engine], precisions: Sequence[str], calibration: "Calibration | None" = None
) -> Iterator[Path]:
    """Write a network in every form that these engines read; yield the folder, which is gone afterwards."""
    from convwright.exporting.export import draft, write_sealed
    from convwright.weights import save_weights

    formats = {".onnx": "onnx", ".xml": "openvino", ".safetensors": "torch"}
    with _temporary_folder() as folder:
        write_text(folder / "network.json", subject.network.to_json_text())
        write_text(folder / "card.json", subject.card.to_json_text())
        save_weights(subject.predictor.module, folder / "weights.safetensors")
        for suffix in {engine.suffix for engine in engines if engine.suffix}:
            for precision in {"f32", *precisions} - {"bf16"}:
                if precision == "int8" and (calibration is None or suffix == ".safetensors"):
                    continue
                wanted = calibration if precision == "int8" else None
                path = folder / f"{precision}{suffix}"
                try:
                    made = draft(subject, formats[suffix], None, wanted, folder)
                except OSError as error:  # the tools that quantize write files of their own
                    raise ConvwrightError(f"{path} could not be written: {error.strerror or error}") from None
                write_sealed(made, path, made.card)
        yield folder


def measure(
    folder: Path, setting: Setting, images: np.ndarray | None = None, seconds: float = ENOUGH_SECONDS
) -> Measurement:
    """Measure an engine on a network that `prepared` has written, in another process.

    images: uint8, to answer too. What goes wrong there is told in the measurement.
    """
    engine = ENGINES[setting.engine]
    stored = "int8" if setting.precision == "int8" else "f32"
    path = folder / f"{stored}{engine.suffix}" if engine.suffix else folder
    if setting.precision not in engine.precisions or not path.exists():
        return Measurement(setting, problem=f"{setting.engine} does not run {setting.precision}")
    return measure_file(path, setting, images, seconds)


def measure_file(
    path: Path, setting: Setting, images: np.ndarray | None = None, seconds: float = ENOUGH_SECONDS
) -> Measurement:
    """Measure an engine on an exported file, or on the folder that `prepared` has written."""
    with _temporary_folder() as folder:
        asked = folder / "images.npy"
        if images is not None:
            save_array(asked, images)
        job = vars(setting) | {
            "path": str(path),
            "seconds": seconds,
            "images": str(asked) if images is not None else "",
        }
        command = [sys.executable, "-m", "convwright.benchmarking.worker", json_text.dump(job)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return Measurement(setting, problem=f"took more than {TIME_LIMIT} s")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            return Measurement(setting, problem=lines[-1][:200])
        told: dict[str, Any] = json_text.parse(done.stdout.splitlines()[-1], setting.engine)
        logits = np.load(f"{asked}.logits.npy") if images is not None else None
    return Measurement(setting, tuple(told["seconds"]), told["load_seconds"], told["memory_bytes"], logits)


def file_settings(path: Path, engines: Sequence[Engine], batch: int, threads: int, precision: str) -> list[Setting]:
    """Return how an exported file can be run: by the engines of these that read it."""
    readers = [engine for engine in FILE_ENGINES.values() if path.suffix in engine.reads]
    names = {"torch-folded" if engine.name == "torch" else engine.name for engine in readers}
    return [Setting(engine.name, precision, batch, threads) for engine in engines if engine.name in names]

"""Measurements of engines, each in a process of its own, so that neither memory nor threads mix.

This process writes the network in every form that backends read; a child process opens one of them and runs it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from convwright import json_text
from convwright.benchmarking.backends import Backend, backends
from convwright.benchmarking.job import ENOUGH_SECONDS, GPU, Job, Outcome, Setting, save_array
from convwright.engines.registry import engines_reading
from convwright.errors import ConvwrightError
from convwright.exporting.quantization import Calibration
from convwright.exporting.subject import Subject
from convwright.exporting.writing import FORMATS, TRAILED, write_unverified
from convwright.files import write_text
from convwright.weights import save_weights

TIME_LIMIT = 600
"""Seconds after which a measurement is given up."""
OPTIONAL = tuple(FORMATS[format] for format in TRAILED)
"""Suffixes of formats whose compilers may not support a network; the other engines are measured all the same."""


@dataclass(frozen=True)
class Measurement:
    """Times and memory of a network in one setting."""

    setting: Setting
    seconds: tuple[float, ...] = ()
    """Time of each batch."""
    load_seconds: float = 0.0
    """Time to load the network and to run the first batch."""
    memory_bytes: int | None = None
    """Peak memory of the process, less what it had before it loaded the network; None where it is unknown."""
    logits: np.ndarray | None = field(default=None, compare=False)
    """Logits of images that were to be run as well."""
    doubt: str = ""
    """Why the times cannot be relied on, such as other programs that computed meanwhile; empty where they can."""
    problem: str = ""
    """Why there is no measurement."""

    @property
    def median(self) -> float:
        """Median time of a batch, in seconds."""
        return float(np.median(self.seconds))

    @property
    def p95(self) -> float:
        """95th percentile of the times of batches, in seconds."""
        return float(np.percentile(self.seconds, 95))

    @property
    def throughput(self) -> float:
        """Images a second, by the median."""
        return self.setting.batch / self.median


def _problem_file(path: Path) -> Path:
    """Return the file that records why a file could not be written."""
    return path.with_name(f"{path.name}.problem")


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a new folder in the system's temporary one, which is removed at the end."""
    try:
        made = tempfile.TemporaryDirectory(prefix="convwright-bench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ConvwrightError(f"no temporary folder could be made: {error.strerror}; set TMPDIR to another") from None
    with made as name:
        yield Path(name)


@contextmanager
def prepared(
    subject: Subject, chosen: Sequence[Backend], precisions: Sequence[str], calibration: Calibration | None = None
) -> Iterator[Path]:
    """Write a network in every form that backends read.

    Args:
        subject: The network.
        chosen: The backends.
        precisions: Precisions to measure in.
        calibration: Images to calibrate 8 bits on; None: no file in 8 bits is written.

    Yields:
        The folder of the files, which is removed at the end.
    """
    with _temporary_folder() as folder:
        write_text(folder / "network.json", subject.network.to_json_text())
        write_text(folder / "card.json", subject.card.to_json_text())
        save_weights(subject.predictor.module, folder / "weights.safetensors")
        for suffix in {backend.suffix for backend in chosen if backend.suffix}:
            for precision in {"f32", *precisions} - {"bf16"}:
                if precision == "int8" and (calibration is None or suffix == ".safetensors"):
                    continue
                path = folder / f"{precision}{suffix}"
                try:
                    write_unverified(subject, path, calibration=calibration if precision == "int8" else None)
                except ConvwrightError as error:
                    if suffix not in OPTIONAL:
                        raise
                    write_text(_problem_file(path), str(error))
                except OSError as error:  # the packages that quantize write files of their own
                    raise ConvwrightError(f"{path} could not be written: {error.strerror or error}") from None
        yield folder


def measure(
    folder: Path, setting: Setting, images: np.ndarray | None = None, seconds: float = ENOUGH_SECONDS
) -> Measurement:
    """Measure a backend on a network that `prepared` has written, in a child process.

    Args:
        folder: Folder of `prepared`.
        setting: Backend, precision, batch size and threads.
        images: Further images to run, `N x C x H x W`, uint8, whose logits are returned.
        seconds: Time to measure for.

    Returns:
        The measurement; its `problem` has the reason if the backend could not run the network.
    """
    backend = backends()[setting.engine]
    stored = "int8" if setting.precision == "int8" else "f32"
    path = folder / f"{stored}{backend.suffix}" if backend.suffix else folder
    if setting.precision not in backend.precisions or not path.exists():
        recorded = _problem_file(path)
        problem = recorded.read_text(encoding="utf-8") if recorded.is_file() else ""
        return Measurement(setting, problem=problem or f"{setting.engine} does not run {setting.precision}")
    return measure_file(path, setting, images, seconds)


def measure_file(
    path: Path, setting: Setting, images: np.ndarray | None = None, seconds: float = ENOUGH_SECONDS
) -> Measurement:
    """Measure a backend on an exported file, or on the folder that `prepared` has written; see `measure`."""
    with _temporary_folder() as folder:
        array = folder / "images.npy"
        if images is not None:
            save_array(array, images)
        job = Job(str(path), setting, seconds, "" if images is None else str(array))
        command = [sys.executable, "-m", "convwright.benchmarking.worker", job.to_json_text()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return Measurement(setting, problem=f"took more than {TIME_LIMIT} s")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            return Measurement(setting, problem=lines[-1][:200])
        outcome = Outcome(**json_text.parse(done.stdout.splitlines()[-1], setting.engine))
        logits = None if images is None else np.load(f"{array}.logits.npy")
    times = tuple(outcome.seconds)
    return Measurement(setting, times, outcome.load_seconds, outcome.memory_bytes, logits, outcome.doubt)


def file_settings(path: Path, chosen: Sequence[Backend], batch: int, threads: int, precision: str) -> list[Setting]:
    """Return the settings in which an exported file can be run.

    Args:
        path: The file.
        chosen: Backends to choose from.
        batch: Images at once.
        threads: Number of threads; `GPU` for the backends that compute on one.
        precision: Precision.
    """
    readers = {engine.name for engine in engines_reading(path.suffix)}
    able = [
        backend
        for backend in chosen
        if backend.engine in readers
        and precision in backend.precisions
        and (backend.device == "cuda") == (threads == GPU)
    ]
    return [Setting(backend.name, precision, batch, threads) for backend in able]

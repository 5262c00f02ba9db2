"""Predictors that are sent to other machines, which need no copy of the run or of the exported file."""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Optional

from convwright.engines.checksum import weights_file
from convwright.prediction.base import BasePredictor
from convwright.prediction.files import FilePredictor, RunPredictor, worker_threads
from convwright.stats.limits import Limits

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor


@dataclass(frozen=True)
class _ExportedFile:
    """An exported file, and the engine that runs it."""

    path: Path
    """The file on the machine that sends it, for messages."""
    content: dict[str, bytes]
    """Content of the file and of its weights file, by name."""
    engine: str
    precision: str
    limits: Limits | None
    """Temperature and thresholds."""

    @classmethod
    def read(cls, predictor: FilePredictor) -> "_ExportedFile":
        """Return the file of a predictor.

        Raises:
            OSError: The file cannot be read.
        """
        path = predictor.path
        weights = weights_file(path)
        files = [path] if weights is None else [path, weights]
        content = {file.name: file.read_bytes() for file in files}
        return cls(path, content, predictor.engine, predictor.precision, predictor.limits)

    def open(self, cores: int) -> FilePredictor:
        """Return a predictor that computes with so many threads."""
        with TemporaryDirectory(prefix="convwright-", ignore_cleanup_errors=True) as folder:
            for name, content in self.content.items():
                (Path(folder) / name).write_bytes(content)
            threads = worker_threads(self.path, cores)
            predictor = FilePredictor(Path(folder) / self.path.name, self.engine, threads, self.precision)
            predictor.open_scores()
        predictor.path, predictor.limits = self.path, self.limits
        return predictor


@dataclass(frozen=True)
class PortablePredictor:
    """A predictor as values that can be pickled."""

    file: _ExportedFile | None
    run: Path
    """The run directory on the machine that sends it, where a run predicts with an exported file."""
    in_torch: Optional["Predictor"]

    @classmethod
    def of(cls, predictor: BasePredictor) -> "PortablePredictor":
        """Return a predictor that can be sent.

        Args:
            predictor: A network in torch on the CPU, an exported file, or a run with the file of its fastest engine,
                whose limits have been found.
        """
        if isinstance(predictor, FilePredictor):
            return cls(_ExportedFile.read(predictor), Path(), None)
        if isinstance(predictor, RunPredictor):
            return cls(_ExportedFile.read(predictor.fastest), predictor.path, predictor.in_torch)
        from convwright.prediction.network import Predictor

        assert isinstance(predictor, Predictor)
        predictor.fitted_limits()  # read now: the other machine has no access to the run
        return cls(None, Path(), predictor)

    def open(self, cores: int) -> BasePredictor:
        """Return the predictor on this machine.

        Args:
            cores: Threads to compute with; those of torch are set for the whole process.
        """
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(cores)
        if self.file is None:
            assert self.in_torch is not None
            return self.in_torch
        predictor = self.file.open(cores)
        if self.in_torch is None:
            return predictor
        run = RunPredictor(self.run, predictor)
        run.in_torch = self.in_torch
        return run

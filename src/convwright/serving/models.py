"""The models of a service: opened, described, and reloaded when their files change."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convwright.engines.engine import SUFFIXES
from convwright.engines.selection import FOLDER, GUARDED, RECORD
from convwright.errors import ArgumentError, ConvwrightError
from convwright.places import without_folders
from convwright.prediction.base import BasePredictor
from convwright.prediction.files import FilePredictor, RunPredictor, open_predictor
from convwright.prediction.outcomes import Prediction
from convwright.prediction.stored_limits import NAME
from convwright.printable import printable
from convwright.serving.batching import Batcher, Options, exact_sizes
from convwright.serving.explaining import Explainer, open_explainer
from convwright.serving.limits import ServiceLimits
from convwright.serving.problems import Refusal

if TYPE_CHECKING:
    from convwright.serving.metrics import Metrics

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, modification time, size and inode of each file of a model."""


@dataclass(frozen=True)
class Computing:
    """How networks are computed."""

    engine: str | None = None
    """Engine of exported files; None: the fastest."""
    threads: int | None = None
    """Threads of an engine; None: all cores, or those that were measured as the fastest."""


class ServedModel:
    """One model, as it was when its files were opened.

    Args:
        name: Name in addresses and answers.
        path: A run directory or an exported file.
        limits: Limits of the service.
        metrics: Counters of the service.
        how: How networks are computed.

    Raises:
        ConvwrightError: The file or the run cannot be opened.
    """

    def __init__(
        self, name: str, path: Path, limits: ServiceLimits, metrics: "Metrics", how: Computing = Computing()
    ) -> None:
        self.name, self.path = name, path
        self.signature = signature_of(path)
        self.predictor: BasePredictor = open_predictor(
            path, "auto", None if path.is_dir() else how.engine, threads=how.threads
        )
        self.sets: BasePredictor = self.predictor
        """Predictor with limits: those of the file, or else those of the run."""
        if path.is_dir() and isinstance(self.predictor, FilePredictor):
            self.sets = RunPredictor(path, self.predictor)
        self.no_sets = self._settle_limits()
        """Why the model gives no prediction sets; None where it gives them, or has several labels an image."""
        self.explainer: Explainer | None = open_explainer(path, self.predictor)
        self.loaded = datetime.now(UTC).isoformat(timespec="seconds")
        self.sizes = self._exact_sizes(limits.batch)
        self.requests = self.reading = 0
        """Requests that use the model, and those among them whose images are not yet submitted."""
        self.retired = False
        self.batcher = Batcher(
            self._rank, self.sizes, limits.wait / 1000, lambda: self.reading > 0, metrics.observer(name)
        )

    def _settle_limits(self) -> str | None:
        """Read the limits, or fit those of a run, so that no later request changes probabilities.

        Limits that are fitted here are no change of the model's files.

        Returns:
            Why there are none; None where there are, or where the network has several labels an image.
        """
        if self.predictor.multi_label or (isinstance(self.predictor, FilePredictor) and self.predictor.limits):
            return None
        try:
            self.sets.find_limits()
        except (ConvwrightError, ImportError) as error:  # a run with a faster engine is also served without torch
            return printable(error)
        fitted = dict(zip(limits_files(self.path), signature_of_files(limits_files(self.path)), strict=True))
        self.signature = tuple(
            fitted.get(file, earlier) for file, earlier in zip(files_of(self.path), self.signature, strict=True)
        )
        return None

    def _exact_sizes(self, most: int) -> tuple[int, ...]:
        """Return the batch sizes that change no prediction; the network runs for the first time."""
        from convwright.arch.resolution import sides

        shape = (self.predictor.channels, *sides(self.predictor.resolution))
        if not isinstance(self.predictor, FilePredictor):
            self.predictor.rank([self.predictor.read(np.zeros((*shape[1:], shape[0]), np.uint8))])
            return (1,)
        return exact_sizes(self.predictor.logits, shape, most)

    def _rank(self, pixels: Sequence[Any], options: Options) -> list[Prediction]:
        predictor = self.predictor if options.coverage is None else self.sets
        return predictor.rank(pixels, options.top, options.coverage)

    def options(self, top: int | None, coverage: float | None) -> Options:
        """Return checked options of a request.

        Raises:
            Refusal: An option does not fit the model.
        """
        try:
            self.predictor.check_top(top, coverage)
            if coverage is not None and self.no_sets is None:
                self.sets.find_limits()
        except (ConvwrightError, ImportError) as error:
            raise Refusal(422, "wrong_option", printable(error)) from None
        if coverage is not None and self.no_sets is not None:
            raise Refusal(422, "wrong_option", self.no_sets)
        if coverage is not None:
            return Options(coverage=coverage)
        return Options(None if self.predictor.multi_label else min(top or TOP, len(self.predictor.classes)))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model for a request, also while another one takes its place."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self._close_if_unused()

    @contextmanager
    def images_expected(self) -> Iterator[None]:
        """Let images of other requests wait for those that are read in this context."""
        self.reading += 1
        try:
            yield
        finally:
            self.reading -= 1

    def retire(self) -> None:
        """End the model once its requests are answered."""
        self.retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self.retired and not self.requests:
            self.batcher.close()

    def to_dict(self) -> dict[str, object]:
        """Return what `GET /models` shows."""
        predictor = self.predictor
        values: dict[str, object] = {
            "name": self.name,
            "path": without_folders(self.path),
            "engine": predictor.engine if isinstance(predictor, FilePredictor) else "torch",
            "classes": list(predictor.classes),
            "channels": predictor.channels,
            "resolution": predictor.resolution,
            "multi_label": predictor.multi_label,
            "explains": self.explainer is not None,
            "batch_sizes": list(self.sizes),
            "loaded": self.loaded,
        }
        if isinstance(predictor, FilePredictor):
            values |= {"network": predictor.card.network, "precision": predictor.card.precision}
        return values


TOP = 3
"""Classes that are named for each image by default, as `convwright predict` does."""


class Models:
    """The models of a service by name. Their use is counted in one thread, that of the event loop.

    Args:
        paths: Run directories and exported files.
        limits: Limits of the service.
        metrics: Counters of the service.
        how: How networks are computed.

    Raises:
        ArgumentError: There is no model, two have the same name, or an engine is named and no exported file.
        ConvwrightError: A file or a run cannot be opened.
    """

    def __init__(
        self, paths: Sequence[Path], limits: ServiceLimits, metrics: "Metrics", how: Computing = Computing()
    ) -> None:
        if how.engine is not None and all(path.is_dir() for path in named(paths).values()):
            raise ArgumentError("engine", "an engine runs exported files, and all models are runs; export them")
        self.limits, self.metrics, self.how = limits, metrics, how
        self.problems: dict[str, str] = {}
        """Why a model could not be reloaded, by name."""
        self._current = {name: ServedModel(name, path, limits, metrics, how) for name, path in named(paths).items()}
        self._changing: dict[str, Signature] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._current)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._current.values())

    def find(self, name: str | None) -> ServedModel:
        """Return a model by name; without a name the only one.

        Raises:
            Refusal: There is no such model, or a name is needed.
        """
        names = ", ".join(self._current)
        if name is None and len(self._current) > 1:
            raise Refusal(422, "model_missing", f"choose a model: /predict?model=NAME with one of {names}")
        if name is not None and name not in self._current:
            raise Refusal(404, "unknown_model", f"no model {printable(name)[:80]!r}; there are {names}")
        return self._current[name] if name is not None else next(iter(self._current.values()))

    def changed(self) -> list[str]:
        """Return the names of models whose files have changed and stayed the same since the last call."""
        found = []
        for name, model in self._current.items():
            now = signature_of(model.path)
            if now == model.signature:
                self._changing.pop(name, None)
            elif self._changing.get(name) == now:
                found.append(name)
            else:
                self._changing[name] = now
        return found

    def reloaded(self, name: str) -> ServedModel | None:
        """Open a model's files again; None, with the reason in `problems`, where that fails. For another thread."""
        with self._lock:
            old = self._current[name]
            try:
                return ServedModel(name, old.path, self.limits, self.metrics, self.how)
            except Exception as error:  # half-written files fail in every way; the old model stays in use
                self.problems[name] = printable(error)[:300]
                return None

    def replace(self, model: ServedModel) -> None:
        """Let a model take the place of the one of its name; requests that use the old one are answered by it."""
        old, self._current[model.name] = self._current[model.name], model
        self.problems.pop(model.name, None)
        old.retire()

    def keep(self, name: str) -> None:
        """Do not try to open a model again before its files change once more."""
        self._current[name].signature = self._changing.pop(name, self._current[name].signature)

    def close(self) -> None:
        """End all models once their requests are answered."""
        for model in self:
            model.retire()


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Return models by name: that of the file without suffix or of the run's folder.

    Args:
        paths: Run directories and exported files; NAME=PATH gives another name.

    Raises:
        ArgumentError: There is no model, or two have the same name.
    """
    found: dict[str, Path] = {}
    for given in paths:
        name, path = _name_and_path(given)
        if name in found:
            text = f"{found[name]} and {path} are both named {name}; give one of them another name: NAME={path}"
            raise ArgumentError("models", text)
        if not name.isprintable() or "/" in name or not name:
            raise ArgumentError("models", f"{printable(path)}: its name cannot be part of an address; rename it")
        found[name] = path
    if not found:
        raise ArgumentError("models", "missing; name exported files or runs")
    return found


def absolute(paths: Sequence[Path]) -> list[Path]:
    """Return run directories and exported files as `named` takes them, with absolute paths and the same names."""
    return [Path(f"{name}={path.absolute()}") for name, path in named(paths).items()]


def _name_and_path(given: Path) -> tuple[str, Path]:
    name, equals, rest = str(given).partition("=")
    if equals and not given.exists():
        return name, Path(rest)
    return given.stem if given.suffix in SUFFIXES and not given.is_dir() else given.resolve().name, given


def signature_of(path: Path) -> Signature:
    """Return what changes when a model's files change."""
    return signature_of_files(files_of(path))


def files_of(path: Path) -> list[Path]:
    """Return the files of a model, also those that do not exist."""
    if path.is_dir():
        return [*(path / name for name in GUARDED), path / FOLDER / RECORD, *limits_files(path)]
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def limits_files(path: Path) -> list[Path]:
    """Return the files with the limits of a run, and of the exported file that it predicts with."""
    return [path / NAME, path / FOLDER / NAME] if path.is_dir() else []


def signature_of_files(files: Sequence[Path]) -> Signature:
    """Return what changes when files change."""
    return tuple(_file_signature(file) for file in files)


def _file_signature(file: Path) -> tuple[str, int, int, int]:
    try:
        status = file.stat()
    except OSError:
        return file.name, 0, 0, 0
    return file.name, status.st_mtime_ns, status.st_size, status.st_ino

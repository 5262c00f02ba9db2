"""Predictors of exported files, without torch, and `load`, which opens a predictor of any kind."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, overload

import numpy as np

from convwright.arch.resolution import sides
from convwright.data.images import Framing
from convwright.engines.engine import SUFFIXES, check_runnable
from convwright.engines.registry import open_file
from convwright.engines.scored import ScoredRunner, open_scored
from convwright.engines.selection import check_selected_file, find_selection
from convwright.errors import ArgumentError, ConvwrightError, UsageError, warn
from convwright.extras import installed
from convwright.finite import check_finite
from convwright.prediction.base import BATCH, AnyImage, BasePredictor, OneImage
from convwright.prediction.hub import resolved
from convwright.prediction.outcomes import Prediction
from convwright.prediction.result import Predictions
from convwright.prediction.stored_limits import read_file_limits, read_limits
from convwright.printable import printable
from convwright.stats.limits import Limits

if TYPE_CHECKING:
    import torch

    from convwright.prediction.network import Predictor
    from convwright.training.run import Run

GPU = ("/dev/nvidia0", "/proc/driver/nvidia", "/dev/kfd")
"""Where Linux shows GPUs that torch may use."""


class FilePredictor(BasePredictor):
    """An exported network in an engine: methods as of `Predictor`, with arrays for tensors.

    Args:
        path: The exported file.
        engine: Name of the engine; None for the fastest installed engine that the file was verified with.
        threads: Threads of the engine; None for all cores.
        precision: `f32` or `bf16`.
    """

    def __init__(
        self, path: Path, engine: str | None = None, threads: int | None = None, precision: str = "f32"
    ) -> None:
        loaded, self.path, self._threads = open_file(path, engine, threads, precision), path, threads
        self.precision = precision
        self.run, self.card, self.engine = loaded.run, loaded.card, loaded.engine
        self.classes, self.channels, self.resolution = self.card.classes, self.card.channels, self.card.resolution
        self.framing = Framing(**{name: getattr(self.card, name) for name in Framing._fields})
        self.thresholds = self.card.thresholds
        self.limits = self.card.limits
        """Temperature and thresholds; of a run's file without limits, those that the run's directory stores for it."""

    @property
    def is_float(self) -> bool:
        """Whether the file computes the logits of its run, up to rounding: in 32 bits."""
        return self.precision == self.card.precision == "f32"

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"path": self.path, "classes": self.classes, "resolution": self.resolution}

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return logits, N x classes.

        Args:
            images: N x C x H x W, uint8, of the network's size.

        Raises:
            UsageError: The images have another type or size.
            NotFiniteError: A logit is NaN or infinite.
        """
        images = np.asarray(images)
        size = (self.channels, *sides(self.resolution))
        if images.dtype != np.uint8 or images.shape[1:] != size or images.ndim != 4:
            wanted = " x ".join(map(str, ("N", *size)))
            given = " x ".join(map(str, images.shape)) or "a single value"
            raise UsageError(f"images are uint8, {wanted}, not {images.dtype}, {given}; 'predict' resizes any image")
        if not len(images):
            return np.zeros((0, len(self.classes)), np.float32)
        logits = np.asarray(self.run(np.ascontiguousarray(images)), np.float32)
        if logits.shape != (len(images), len(self.classes)):
            found, right = (" x ".join(map(str, shape)) for shape in (logits.shape, (len(images), len(self.classes))))
            raise ConvwrightError(f"{self.path}: its network returns {found} logits, not {right}; export it again")
        return check_finite(logits, self.path)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities, N x classes, for images N x C x H x W, uint8, of the network's size.

        They are calibrated where the file has limits.
        """
        return self.calibrated(self.logits(images)).astype(np.float32)

    def _logits(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        return self.logits(np.stack(list(pixels)))

    def _scored(self, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        images = np.stack(list(pixels))
        if self._ood is None:
            return self.logits(images), None
        logits, scores = self._ood(images)
        return check_finite(logits, self.path), scores

    @cached_property
    def _ood(self) -> ScoredRunner | None:
        """The file with logits and out-of-distribution scores; None where it has no scores."""
        if self.card.limits is None or self.card.limits.ood_score is None:
            return None
        return open_scored(self.path, self.engine, self._threads)

    def open_scores(self) -> None:
        """Open what computes out-of-distribution scores now; later, the file is no longer needed."""
        _ = self._ood

    def fitted_limits(self) -> Limits | None:
        """Return temperature and thresholds; None where they are not known."""
        return self.limits

    def find_limits(self) -> Limits:
        """Return temperature and thresholds from the file's card.

        Raises:
            ArgumentError: The card has none.
        """
        if self.card.limits is None:
            raise ArgumentError(
                "coverage", f"{self.path}: the file has no limits; export a run with validation images again"
            )
        return self.card.limits


class RunPredictor(BasePredictor):
    """A run that predicts in the engine measured as the fastest, and uses torch for everything else.

    `predict` and `rank` need no torch. What only `Predictor` has (its module, tensors of probabilities, and what
    `convwright.explain` uses) loads torch on first use.

    Args:
        run: The run directory.
        fastest: The run's exported file in the fastest engine.
    """

    def __init__(self, run: Path, fastest: FilePredictor) -> None:
        self.path, self.fastest = run, fastest
        self.classes, self.channels, self.resolution = fastest.classes, fastest.channels, fastest.resolution
        self.framing, self.thresholds = fastest.framing, fastest.thresholds

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"path": self.path, "engine": self.fastest.path.name, "classes": self.classes}

    @cached_property
    def in_torch(self) -> "Predictor":
        """The run in torch."""
        from convwright.prediction.network import load as load_run

        return load_run(self.path)

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: OneImage, top: int | None = None, batch_size: int = BATCH, coverage: float | None = None
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Iterable[AnyImage], top: int | None = None, batch_size: int = BATCH, coverage: float | None = None
    ) -> Predictions: ...
    def predict(
        self,
        images: OneImage | Iterable[AnyImage],
        top: int | None = None,
        batch_size: int = BATCH,
        coverage: float | None = None,
    ) -> Prediction | Predictions:
        """Rank the classes of one image or of several, as `Predictor.predict` does."""
        if coverage is not None and self.fastest.card.limits is None:
            return super().predict(images, top, batch_size, coverage)
        return self.fastest.predict(images, top, batch_size, coverage)

    def _scored(self, pixels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray | None]:
        if self.fastest.card.limits is None:
            import torch

            _, scores = self.in_torch._scored([torch.from_numpy(np.asarray(image)) for image in pixels])
            return self._logits(pixels), scores
        return self.fastest._scored([np.asarray(image) for image in pixels])

    def fitted_limits(self) -> Limits | None:
        """Return temperature and thresholds of the file; None where they are not known."""
        return self.fastest.limits

    def find_limits(self) -> Limits:
        """Return temperature and thresholds of the file, fitted when first needed if its card has none."""
        if self.fastest.card.limits is not None:
            return self.fastest.card.limits
        from convwright.prediction.run_limits import selected_file_limits

        self.in_torch.find_limits()  # the scores need them
        if self.fastest.limits is None:
            self.fastest.limits = selected_file_limits(self.in_torch, self.fastest)
        return self.fastest.limits

    def _logits(self, pixels: Sequence[Any]) -> np.ndarray:
        return self.fastest._logits([np.asarray(image) for image in pixels])

    def convert(self, pixels: np.ndarray) -> Any:
        """Return an image's pixels as a tensor."""
        import torch

        return torch.from_numpy(pixels)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling look up names that no predictor has
            raise AttributeError(name)
        return getattr(self.in_torch, name)


def load(
    run: "Run | str | Path", device: "torch.device | str" = "cpu", engine: str | None = None, weights: str | None = None
) -> Union["Predictor", RunPredictor, FilePredictor]:
    """Load a run, an exported file, or a network with published weights.

    Args:
        run: A run or its directory, an exported file (.onnx, .xml, .safetensors, .tflite, .pte), also on the Hugging
            Face Hub (hf://user/name), or with `weights` a network.
        device: Where torch computes: `cpu`, `cuda` or `auto`.
        engine: Engine of an exported file; None for the fastest installed engine that the file was verified with.
        weights: Published weights for a network; see `convwright.prediction.pretrained.pretrained`.

    Returns:
        The predictor. A run for which `convwright bench --select` or `convwright export` has measured a faster engine
        than torch on this machine predicts with that engine, unless a GPU is requested or `device` is `auto` and
        there is one.

    Raises:
        RunError: The value is no run, or the run is damaged.
        UsageError: The arguments exclude each other, or the value is none of these.
    """
    run = resolved(run)
    found = open_predictor(run, device, engine, weights)
    path = path_of(run)
    fastest = isinstance(found, FilePredictor) and path.is_dir()
    return RunPredictor(path, found) if fastest else found  # type: ignore[arg-type]


def worker_threads(path: Path, cores: int | None) -> int | None:
    """Return the threads of a file's engine on a worker with so many cores; None: ExecuTorch decides itself."""
    return None if path.suffix == ".pte" else cores


def open_predictor(
    run: "Run | str | Path",
    device: "torch.device | str" = "cpu",
    engine: str | None = None,
    weights: str | None = None,
    threads: int | None = None,
) -> Union["Predictor", FilePredictor]:
    """Load what `load` loads, for predictions only: a run with a faster engine than torch is that engine alone.

    `threads` are those of an exported file's engine; None: all cores, or those that were measured as the fastest.
    """
    path = path_of(resolved(run))
    check_runnable(path)
    if weights is not None:
        _check_is_network(path)
        return _pretrained(str(path), weights, device, engine)
    if path.suffix in SUFFIXES and not path.is_dir():
        if str(device) not in ("cpu", "auto"):
            raise ArgumentError("device", f"{path}: an exported file runs on the CPU, not on {device}")
        return FilePredictor(path, engine, worker_threads(path, threads))
    if engine is not None:
        raise ArgumentError("engine", f"{path}: an engine runs exported files; 'convwright export' makes one of a run")
    if not path.exists() and _is_network(str(path)):
        raise ArgumentError(
            "weights", f"{path} is a network, not a run directory; to use published weights, give 'pretrained'"
        )
    on_cpu = str(device) == "cpu" or (str(device) == "auto" and not _has_gpu())
    if on_cpu and (fastest := _fastest_engine(path, threads)):
        return fastest
    from convwright.prediction.network import load as load_run

    return load_run(path, device)


def path_of(run: "Run | str | Path") -> Path:
    """Return the path of a run without importing torch."""
    path = run if isinstance(run, str | Path) else getattr(run, "path", None)
    if not isinstance(path, str | Path):
        raise ArgumentError("run", f"must be a run or its directory, or an exported file, not {run!r:.80}")
    return Path(path)


def _is_network(text: str) -> bool:
    from convwright.zoo.reading import is_network  # here, since the zoo takes longer to import than a prediction

    return is_network(text)


def _check_is_network(path: Path) -> None:
    """Raise ArgumentError for a run or an exported file, which has weights of its own."""
    kind = "a run" if path.is_dir() else "an exported file" if path.suffix in SUFFIXES and path.exists() else ""
    if kind:
        raise ArgumentError("weights", f"{path} is {kind}, which has weights of its own; they are for networks")


def _pretrained(expression: str, weights: str, device: "torch.device | str", engine: str | None) -> "Predictor":
    if engine is not None:
        raise ArgumentError(
            "engine", "an engine runs exported files; with published weights, the network runs in torch"
        )
    from convwright.prediction.pretrained import pretrained
    from convwright.zoo.reading import read_network

    return pretrained(read_network(expression), weights, device)


def _fastest_engine(run: Path, threads: int | None) -> FilePredictor | None:
    """Open the file of the engine measured as the fastest; None, with a warning, where it cannot be used."""
    engine = "a faster engine"
    try:
        if (found := find_selection(run)) is None:
            return None
        selection, file = found
        engine = selection.engine
        precision = "bf16" if selection.precision == "bf16" else "f32"
        fastest = FilePredictor(file, selection.engine, threads or selection.threads, precision)
        check_selected_file(selection, fastest.card, run)
        if fastest.limits is None and not fastest.multi_label:
            fastest.limits = _stored_limits(run, fastest)
        return fastest
    except ConvwrightError as error:
        message = f"torch predicts instead of {engine}: {printable(error)}"
        warn(message)
        return None


def _stored_limits(run: Path, fastest: FilePredictor) -> Limits | None:
    """Return the limits that a run's directory stores for the file that it predicts with."""
    if not fastest.is_float:
        return read_file_limits(fastest.path.parent, fastest.card.checksum)
    stored = read_limits(run)
    return None if stored is None else stored[0]


def _has_gpu() -> bool:
    """Return whether torch can use a GPU. Torch is only imported where the system shows a GPU."""
    if not installed("torch") or not any(Path(place).exists() for place in GPU):
        return False
    import torch

    return torch.cuda.is_available()

"""An exported file that names what is in an image, without torch."""

import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from convwright.data.images import Framing
from convwright.engines.registry import SUFFIXES, open_file
from convwright.engines.selection import check_selected_file, find_selection
from convwright.errors import ConvwrightError, UsageError
from convwright.extras import installed
from convwright.finite import check_finite
from convwright.prediction.base import BATCH, AnyImage, BasePredictor, Prediction
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor

GPU = ("/dev/nvidia0", "/proc/driver/nvidia", "/dev/kfd")
"""Where Linux shows GPUs that torch may use."""


class FilePredictor(BasePredictor):
    """An exported network in an engine. It takes and answers what `Predictor` does, with arrays for tensors."""

    def __init__(
        self, path: Path, engine: str | None = None, threads: int | None = None, precision: str = "f32"
    ) -> None:
        loaded, self.path = open_file(path, engine, threads, precision), path
        self.run, self.card = loaded.run, loaded.card
        self.classes, self.channels, self.resolution = self.card.classes, self.card.channels, self.card.resolution
        self.framing = Framing(self.card.crop, self.card.interpolation)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return N x classes logits for uint8 images, N x C x H x W, of the network's size; UsageError for others."""
        images = np.asarray(images)
        size = (self.channels, self.resolution, self.resolution)
        if images.dtype != np.uint8 or images.shape[1:] != size or images.ndim != 4:
            wanted = " x ".join(map(str, ("N", *size)))
            given = " x ".join(map(str, images.shape)) or "a single value"
            raise UsageError(f"images are uint8, {wanted}, not {images.dtype}, {given}; 'predict' takes any size")
        if not len(images):
            return np.zeros((0, len(self.classes)), np.float32)
        logits = np.asarray(self.run(np.ascontiguousarray(images)), np.float32)
        if logits.shape != (len(images), len(self.classes)):
            found, right = (" x ".join(map(str, shape)) for shape in (logits.shape, (len(images), len(self.classes))))
            raise ConvwrightError(f"{self.path}: its network returns {found} logits, not {right}; export it again")
        return check_finite(logits, self.path)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return N x classes probabilities for uint8 images, N x C x H x W, of the network's size."""
        logits = self.logits(images)
        with np.errstate(over="ignore", under="ignore"):  # of differences larger than float32 holds, exp is 0
            raised = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))
        return raised / raised.sum(1, keepdims=True)

    def _answers(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        return self.probabilities(np.stack(list(pixels)))


class RunPredictor(BasePredictor):
    """A run that predicts in the engine found to be the fastest, and is a torch `Predictor` in everything else.

    `predict` and `rank` need no torch; what only a `Predictor` has (its module, tensors of probabilities, and what
    `convwright.explain` asks for) loads one when it is first asked for.
    """

    def __init__(self, run: Path, quick: FilePredictor) -> None:
        self.path, self.quick = run, quick
        self.classes, self.channels, self.resolution = quick.classes, quick.channels, quick.resolution
        self.framing = quick.framing

    @cached_property
    def in_torch(self) -> "Predictor":
        """The run in torch."""
        from convwright.prediction.network import load as load_run

        return load_run(self.path)

    def predict(self, images: Iterable[AnyImage], top: int = 5, batch_size: int = BATCH) -> list[Prediction]:
        """Name the `top` likeliest classes of each image, as `Predictor.predict` does."""
        return self.quick.predict(images, top, batch_size)

    def _answers(self, pixels: Sequence[Any]) -> np.ndarray:
        return self.quick.probabilities(np.stack([np.asarray(image) for image in pixels]))

    def _held(self, pixels: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(pixels)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling ask for what no predictor has
            raise AttributeError(name)
        return getattr(self.in_torch, name)


def load(
    path: str | Path, device: Any = "cpu", engine: str | None = None
) -> Union["Predictor", RunPredictor, FilePredictor]:
    """Load a run directory or an exported file (.onnx, .xml, .safetensors) to predict with.

    engine: what runs an exported file; by default the quickest at hand that it was verified with. A run for which
    `convwright bench --pick` or `convwright export` has found a faster engine than torch on this machine predicts with
    that, unless a GPU is asked for or there (device "auto"). Raises RunError or UsageError for what is neither.
    """
    path = Path(path)
    found = open_predictor(path, device, engine)
    quick = isinstance(found, FilePredictor) and path.is_dir()
    return RunPredictor(path, found) if quick else found  # type: ignore[arg-type]


def open_predictor(path: Path, device: Any, engine: str | None = None) -> Union["Predictor", FilePredictor]:
    """Load what `load` does, to name classes only: a run with a faster engine than torch is that engine alone."""
    if path.suffix in SUFFIXES and not path.is_dir():
        if str(device) not in ("cpu", "auto"):
            raise UsageError(f"{path}: an exported file runs on the CPU, not on {device}")
        return FilePredictor(path, engine)
    if engine is not None:
        raise UsageError(f"{path}: an engine runs exported files; 'convwright export' makes one of a run")
    on_cpu = str(device) == "cpu" or (str(device) == "auto" and not _has_gpu())
    if on_cpu and (quick := _picked(path)):
        return quick
    from convwright.prediction.network import load as load_run

    return load_run(path, device)


def _picked(run: Path) -> FilePredictor | None:
    """Open the file that a run was found to be fastest with; what is wrong with it is told, for torch will do."""
    engine = "a faster engine"
    try:
        if (found := find_selection(run)) is None:
            return None
        pick, file = found
        engine = pick.engine
        quick = FilePredictor(file, pick.engine, pick.threads, "bf16" if pick.precision == "bf16" else "f32")
        check_selected_file(pick, quick.card, run)
        return quick
    except ConvwrightError as error:
        print(f"convwright: torch predicts instead of {engine}: {printable(error)}", file=sys.stderr)
        return None


def _has_gpu() -> bool:
    """Can torch use a GPU? It is only imported where the system shows one."""
    if not installed("torch") or not any(Path(place).exists() for place in GPU):
        return False
    import torch

    return torch.cuda.is_available()

"""An exported file that names what is in an image, without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from convwright.data.images import Framing
from convwright.deploy.engines import SUFFIXES, open_file
from convwright.deploy.picks import find_pick
from convwright.errors import UsageError
from convwright.training.answering import Answering

if TYPE_CHECKING:
    from convwright.training.predictor import Predictor


class FilePredictor(Answering):
    """An exported network in an engine. It takes and answers what `Predictor` does, with arrays for tensors."""

    def __init__(
        self, path: Path, engine: str | None = None, threads: int | None = None, precision: str = "f32"
    ) -> None:
        loaded = open_file(path, engine, threads, precision)
        self.run, self.card = loaded.run, loaded.card
        self.classes, self.channels, self.resolution = self.card.classes, self.card.channels, self.card.resolution
        self.framing = Framing(self.card.crop, self.card.interpolation)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return N x classes logits for uint8 images, N x C x H x W, of the network's size."""
        return np.asarray(self.run(np.ascontiguousarray(images)), np.float32)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return N x classes probabilities for uint8 images, N x C x H x W, of the network's size."""
        logits = self.logits(images)
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    def _answers(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        return self.probabilities(np.stack(list(pixels)))


def load(path: str | Path, device: Any = "cpu", engine: str | None = None) -> Union["Predictor", FilePredictor]:
    """Load a run directory or an exported file (.onnx, .xml, .safetensors) to predict with.

    engine: what runs an exported file; by default the quickest at hand that it was verified with. A run for which
    `convwright bench --pick` or `convwright export` has found a faster engine than torch on this machine is run by
    that. Raises RunError or
    UsageError for what is neither.
    """
    path = Path(path)
    if path.suffix in SUFFIXES and not path.is_dir():
        if str(device) not in ("cpu", "auto"):
            raise UsageError(f"{path}: an exported file runs on the CPU, not on {device}")
        return FilePredictor(path, engine)
    if engine is not None:
        raise UsageError(f"{path}: an engine runs exported files; 'convwright export' makes one of a run")
    if str(device) in ("cpu", "auto") and (found := find_pick(path)):
        pick, file = found
        return FilePredictor(file, pick.engine, pick.threads, "bf16" if pick.precision == "bf16" else "f32")
    from convwright.training.predictor import load as load_run

    return load_run(path, device)

"""Class activation maps as pictures: from the exported file itself where it has them, else from the run in torch."""

import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convwright.data.images import upright_rgb
from convwright.engines.parts import MAP
from convwright.engines.whole import ENGINES, open_whole
from convwright.errors import ConvwrightError
from convwright.prediction.base import BasePredictor
from convwright.prediction.files import FilePredictor

Explainer = Callable[[BytesIO, Any, int], bytes]
"""Returns a PNG of an image with the map of a class drawn over it.

Arguments are the image file, its pixels and the index of the class."""
FLAT = 1e-12
"""Difference of largest and smallest value below which a map is shown as constant."""


def open_explainer(path: Path, predictor: BasePredictor) -> Explainer | None:
    """Return what explains the predictions of a model; None for a file that was exported without a map.

    Args:
        path: A run directory or an exported file.
        predictor: Its predictor.

    Raises:
        ConvwrightError: The file cannot be opened in the engine.
    """
    if path.is_dir():
        return _RunExplainer(path)
    if not isinstance(predictor, FilePredictor) or MAP not in predictor.card.outputs:
        return None
    engines = ENGINES.get(path.suffix, ())
    engine = predictor.engine if predictor.engine in engines else engines[0]
    return _FileExplainer(path, predictor, engine)


class _FileExplainer:
    """Runs a whole file, from an image of any size to its map."""

    def __init__(self, path: Path, predictor: FilePredictor, engine: str) -> None:
        self.run, self.predictor, self.lock = open_whole(path, engine), predictor, threading.Lock()

    def __call__(self, file: BytesIO, pixels: Any, index: int) -> bytes:
        from convwright.explain.drawing import overlay, png

        card = self.predictor.card
        pixels = np.asarray(pixels)
        whole = upright_rgb(file, self.predictor.framing)[None] if card.input == "image" else pixels[None]
        with self.lock:
            found = np.array(self.run(whole, index)[MAP][0])
        return png(overlay(pixels, _stretched(found, pixels.shape[-2:])))


class _RunExplainer:
    """Loads a run in torch when a map is first requested, beside the predictor that is in use."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self.predictor: Any = None

    def __call__(self, file: BytesIO, pixels: Any, index: int) -> bytes:
        from convwright.explain.gallery import overlays
        from convwright.prediction.network import load

        with self.lock:
            self.predictor = self.predictor or load(self.path)
            file.seek(0)
            (found,) = overlays(self.predictor, [file], target=index)
        return found.png


def _stretched(found: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return a map at the height and width of the image, stretched to 0..1."""
    height, width = size
    large = np.asarray(Image.fromarray(found.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    low, high = float(large.min()), float(large.max())
    if not np.isfinite(high - low):
        raise ConvwrightError("the map of this image is not finite")
    return np.asarray((large - low) / (high - low) if high - low > FLAT else np.zeros_like(large))

"""The tab Explain: prediction, map and nearest training images of a photograph, which is not stored."""

import threading
import warnings
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from convwright.api.prediction import load, predict
from convwright.errors import ConvwrightError, UsageError
from convwright.studio_app.answers import Answer
from convwright.studio_app.folder import StudioFolder, is_run

if TYPE_CHECKING:
    from convwright.prediction.network import Predictor
    from convwright.prediction.result import Predictions

COVERAGE = 0.9
"""Share of images whose prediction set contains the true class."""
MOST_PIXELS = 50_000_000
_LOCK = threading.Lock()
"""One photograph at a time, so that predictors do not share their buffers."""


def explain_photograph(folder: StudioFolder, model: str, content: bytes) -> Answer:
    """Return the prediction of a run or an exported file, and its class activation map where there is one.

    Args:
        folder: The studio's folder.
        model: Run or exported file.
        content: The image file.

    Raises:
        UsageError: The content is no image, or has too many pixels.
    """
    path = folder.model(model)
    image = open_image(content)
    outside = _outside(folder, path, model)
    with _LOCK:
        found, sets = _predicted(path, image, sets=not outside)
        pictures = ""
        if is_run(path):
            pictures = _map(path, image) + (f"<p>{escape(outside)}</p>" if outside else _nearest(path, image))
    name, value = ("coverage", COVERAGE) if sets else ("top", 5)
    command = ["predict", model, "photo.jpg", f"--{name}", f"{value:g}"]
    python = f'cw.predict({model!r}, "photo.jpg", {name}={value:g})'
    if is_run(path):
        python += f'\ncw.explain.cam({model!r}, images="photo.jpg")'
    return Answer("".join(block.to_html() for block in found.blocks()) + pictures, command, python)


def _outside(folder: StudioFolder, path: Path, model: str) -> str:
    """Return why the images of a run may not be read; empty where they may."""
    if is_run(path):
        try:
            folder.check_images(path, model)
        except ConvwrightError as error:
            return f"No prediction set and no nearest images: {error}"
    return ""


def _predicted(path: Path, image: Image.Image, *, sets: bool) -> tuple["Predictions", bool]:
    """Return predictions, and whether they are sets, which need validation images."""
    if sets:
        with suppress(UsageError):  # a multi-label network, or too few validation images
            return predict(str(path), image, coverage=COVERAGE), True
    return predict(str(path), image, top=5), False


def open_image(content: bytes) -> Image.Image:
    """Return an uploaded image.

    Raises:
        UsageError: It is no image, is broken, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content))
            if image.width * image.height > MOST_PIXELS:
                raise UsageError(f"the image has more than {MOST_PIXELS // 10**6} million pixels; use a smaller one")
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UsageError("this file is no image that can be read; use JPEG, PNG or WebP") from None
    return image


def _map(path: Path, image: Image.Image) -> str:
    from convwright.explain.gallery import overlays

    try:
        (found,) = overlays(_predictor(path, _changed(path)), [image], side=320)
    except (ConvwrightError, OSError) as error:
        return f"<p>No map: {escape(str(error))}</p>"
    data = b64encode(found.png).decode()
    caption = f"Where the evidence for {escape(found.label)} is"
    image_tag = f'<img class="map" alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>{image_tag}<figcaption>{caption}</figcaption></figure>"


def _nearest(path: Path, image: Image.Image) -> str:
    from convwright.studio_app.nearest_images import nearest_images  # here: the studio starts without torch

    changed = _changed(path)
    try:
        return nearest_images(path, changed, _predictor(path, changed), image)
    except (ConvwrightError, OSError) as error:
        return f"<p>No nearest images: {escape(str(error))}</p>"


def _changed(path: Path) -> int:
    weights = path / "model.safetensors"
    return weights.stat().st_mtime_ns if weights.exists() else 0


@lru_cache(4)
def _predictor(path: Path, changed: int) -> "Predictor":
    return load(str(path))  # type: ignore[return-value]

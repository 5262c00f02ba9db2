"""The tab Explain: prediction, map and nearest training images of a photograph, which is not stored."""

import threading
import warnings
from base64 import b64encode
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
    with _LOCK:
        found = predict(str(path), image, top=5)
        pictures = _map(path, image) if is_run(path) else ""
    command = ["predict", model, "photo.jpg", "--top", "5"]
    python = f'cw.predict({model!r}, "photo.jpg", top=5)'
    if is_run(path):
        python += f'\ncw.explain.cam({model!r}, images="photo.jpg")'
    return Answer("".join(block.to_html() for block in found.blocks()) + pictures, command, python)


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
        (found,) = overlays(_predictor(path, (path / "model.safetensors").stat().st_mtime_ns), [image], side=320)
    except (ConvwrightError, OSError) as error:
        return f"<p>No map: {escape(str(error))}</p>"
    data = b64encode(found.png).decode()
    caption = f"Where the evidence for {escape(found.label)} is"
    image_tag = f'<img class="map" alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>{image_tag}<figcaption>{caption}</figcaption></figure>"


@lru_cache(4)
def _predictor(path: Path, changed: int) -> "Predictor":
    return load(str(path))  # type: ignore[return-value]

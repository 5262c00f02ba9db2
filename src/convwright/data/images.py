"""Decoding of image files, the same for training, evaluation and prediction."""

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from convwright.errors import ConvwrightError
from convwright.files import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from convwright.printable import printable as printable

if TYPE_CHECKING:
    import torch

ORIENTATION = 0x0112  # of EXIF

ImageFile = str | Path | BinaryIO


class Header(NamedTuple):
    """Header of an image file, read before the pixels are decoded."""

    short_side: int
    grey: bool


class Facts(NamedTuple):
    """Properties of an image file that a survey shows."""

    width: int
    height: int
    mode: str
    format: str
    frames: int


class Framing(NamedTuple):
    """How an image is cropped and resized to a network's square input."""

    crop: float = 1.0
    """Side of the square that is cut from the centre, as a share of the image's short side."""
    interpolation: str = "bicubic"
    """Or "bilinear"."""


def read_image(file: ImageFile, resolution: int, channels: int) -> "torch.Tensor":
    """Return the image as uint8, channels x resolution x resolution: short side fitted, centre cropped.

    Threads call `decode` inside one `quiet()` instead, as changing warning filters is not safe in threads.
    """
    import torch  # here, since an exported file is used without it

    try:
        with quiet():
            return torch.from_numpy(decode(file, resolution, channels)).contiguous()
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        name = file if isinstance(file, str | Path) else getattr(file, "name", "the image")
        raise ConvwrightError(f"cannot read {printable(name)}: {reason(error)}") from error


def decode(file: ImageFile, resolution: int, channels: int, framing: Framing = Framing()) -> np.ndarray:
    """Return the pixels as `read_image` does; every error is raised as it is."""
    with _open(file) as image:
        # JPEGs can be decoded at a fraction of their size; twice the target leaves the resize its quality.
        image.draft(image.mode, (2 * resolution, 2 * resolution))
        return fitted(image, resolution, channels, framing)


def fitted(image: Image.Image, resolution: int, channels: int, framing: Framing = Framing()) -> np.ndarray:
    """Return the pixels of an opened image as `read_image` does; every error is raised as it is."""
    image.load()
    upright = _flat(_upright(image), channels)
    method = Image.Resampling[framing.interpolation.upper()]
    square = ImageOps.fit(upright, (resolution, resolution), method=method, bleed=(1 - framing.crop) / 2)
    return np.atleast_3d(np.array(square)).transpose(2, 0, 1)


def read_header(file: ImageFile) -> Header:
    """Return the header of a file; every error is raised as it is."""
    with _open(file) as image:
        return Header(min(image.size), _is_deep(image) or image.mode in ("1", "L", "LA", "La"))


def read_facts(file: ImageFile) -> Facts:
    """Return size (of the upright image), mode, format and frames of a file; every error is raised as it is."""
    with _open(file) as image:
        width, height = image.size
        with suppress(Exception):  # damaged EXIF data
            if image.getexif().get(ORIENTATION, 1) > 4:  # rotated by 90 degrees
                width, height = height, width
        return Facts(width, height, image.mode, image.format or "", getattr(image, "n_frames", 1))


def reason(error: Exception) -> str:
    """Return in a few words why an image could not be read."""
    match error:
        case FileNotFoundError():
            return "no such file"
        case PermissionError():
            return "no permission to read it"
        case UnidentifiedImageError():
            return "not an image of a known format"
        case Image.DecompressionBombError():
            return f"more than {(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels"
        case MemoryError():
            return "not enough memory to decode it"
    lines = str(error.strerror if isinstance(error, OSError) and error.strerror else error).splitlines()
    return lines[0] if lines else type(error).__name__


def reason_of(path: Path, error: Exception) -> str:
    """Return in a few words why a file could not be read."""
    return "a broken link" if isinstance(error, FileNotFoundError) and path.is_symlink() else reason(error)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore Pillow's warnings; those that matter are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(file: ImageFile) -> Image.Image:
    if isinstance(file, str | Path):
        status = Path(file).stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
            raise OSError("a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if status.st_size == 0:
            raise OSError("the file is empty")
    image = Image.open(file)
    width, height = image.size
    # Pillow only warns up to twice its limit.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        image.close()
        raise Image.DecompressionBombError
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Rotate the image by its EXIF orientation."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # an image with damaged EXIF data is used as it is
        return image


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """Return the image in 8 bits, grey or RGB, with transparent parts on white."""
    if _is_deep(image):
        image = _in_8_bits(image)
    elif "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _is_deep(image: Image.Image) -> bool:
    """Return whether an image has a channel of more than 8 bits; in Pillow only grey images have."""
    return image.mode == "F" or image.mode.startswith("I")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Scale deep grey values to 0..255: from 16 bits where they fit, else from the image's own range."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scaled = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().astype(np.uint8))

"""Decoding of images, the same for training, evaluation and prediction, and for files, Pillow images and arrays."""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from convwright.arch.resolution import Resolution, sides
from convwright.data import decoder1
from convwright.data.framing import DECODER as DECODER
from convwright.data.framing import FILL, ValueRange, standard_range
from convwright.data.framing import Framing as Framing
from convwright.errors import ConvwrightError
from convwright.files import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from convwright.printable import printable as printable

if TYPE_CHECKING:
    import torch

ORIENTATION = 0x0112  # of EXIF
ROTATED = 5
"""From this orientation on, width and height are exchanged."""
WIDTH_TAG, HEIGHT_TAG = 256, 257  # of TIFF
SIXTEEN_BITS = 65535.0
FORMATS_OF_16_BITS = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats whose grey images of more than 8 bits Pillow returns as numbers from 0 to 65535 in mode I."""
REDUCING_GAP = 3.0
"""Images are averaged by a whole factor first where they stay larger than the result by this factor."""

ImageFile = str | Path | BinaryIO


class Header(NamedTuple):
    """Header of an image file, read before the pixels are decoded."""

    width: int
    height: int
    """Of the upright image."""
    grey: bool
    mode: str = ""
    """`I` or `F` where the format does not say what range the values have, else empty."""
    low: float = 0.0
    high: float = 0.0
    """Least and largest value, where `mode` is not empty."""

    @property
    def short_side(self) -> int:
        """The shorter side in pixels."""
        return min(self.width, self.height)


class Facts(NamedTuple):
    """Properties of an image file that a survey shows."""

    width: int
    height: int
    mode: str
    format: str
    frames: int


class ValueRangeError(ValueError):
    """An image has values outside the range that holds for its type."""


def read_image(file: ImageFile, resolution: Resolution, channels: int, framing: Framing = Framing()) -> "torch.Tensor":
    """Return the image as `fitted` does; ConvwrightError names the file that cannot be read, and why.

    Threads call `decode` inside one `quiet()` instead, as changing warning filters is not safe in threads.
    """
    import torch  # here, since an exported file is used without it

    try:
        with quiet():
            return torch.from_numpy(decode(file, resolution, channels, framing)).contiguous()
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        name = file if isinstance(file, str | Path) else getattr(file, "name", "the image")
        raise ConvwrightError(f"cannot read {printable(name)}: {reason(error)}") from error


def decode(file: ImageFile, resolution: Resolution, channels: int, framing: Framing = Framing()) -> np.ndarray:
    """Return the pixels of a file as `fitted` does; every error is raised as it is."""
    with _open(file) as image:
        if framing.decoder == 1:
            decoder1.draft(image, resolution)
        return fitted(image, resolution, channels, framing)


def fitted(image: Image.Image, resolution: Resolution, channels: int, framing: Framing = Framing()) -> np.ndarray:
    """Return the pixels of an opened image, uint8, channels x height x width; every error is raised as it is.

    Args:
        image: The image. It is not changed.
        resolution: Height and width of the result.
        channels: 1 for grey, 3 for RGB.
        framing: How the image is cropped and resized, and what values of images with more than 8 bits per channel mean.
    """
    deep_transparency = framing.decoder > 1 and _has_deep_transparency(image)  # pixels that are read hide it
    image.load()
    upright = _upright(image)
    flat = _flat(_with_alpha(upright) if deep_transparency else upright, channels, framing)
    height, width = sides(resolution)
    return np.atleast_3d(np.array(_resized(flat, (width, height), framing))).transpose(2, 0, 1)


def upright_rgb(file: ImageFile, framing: Framing = Framing()) -> np.ndarray:
    """Return a whole image as exported files take it: uint8, H x W x 3, upright, with transparent parts on white.

    Args:
        file: The image.
        framing: What values of images with more than 8 bits per channel mean.
    """
    if not isinstance(file, str | Path):
        file.seek(0)
    with _open(file) as image:
        deep_transparency = framing.decoder > 1 and _has_deep_transparency(image)
        image.load()
        upright = _upright(image)
        return np.array(_flat(_with_alpha(upright) if deep_transparency else upright, 3, framing))


def read_header(file: ImageFile) -> Header:
    """Return the header of a file; every error is raised as it is.

    Of images whose format does not say what range their values have, the pixels are read too.
    """
    with _open(file) as image:
        grey = _is_deep(image) or image.mode in ("1", "L", "LA", "La")
        width, height = _upright_size(image)
        if not (_is_deep(image) and _range_of_format(image) is None):
            return Header(width, height, grey)
        values = _values(image)
        return Header(width, height, grey, image.mode, float(values.min()), float(values.max()))


def framing_for(headers: Iterable[Header], framing: Framing = Framing()) -> Framing:
    """Return a framing with the range that the values of the images of a data set have.

    It is a standard range, such as 0 to 255, where the values of all images lie within one.
    """
    limits: dict[str, tuple[float, float]] = {}
    for header in headers:
        if header.mode:
            low, high = limits.get(header.mode, (header.low, header.high))
            limits[header.mode] = min(low, header.low), max(high, header.high)
    found = {mode: standard_range(mode, *ends) for mode, ends in limits.items()}
    return framing._replace(
        integer_range=found.get("I", framing.integer_range), float_range=found.get("F", framing.float_range)
    )


def read_facts(file: ImageFile) -> Facts:
    """Return size (of the upright image), mode, format and frames of a file; every error is raised as it is."""
    with _open(file) as image:
        width, height = _upright_size(image)
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
        status = os.stat(file)  # noqa: PTH116 - a Path takes longer than the system call
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


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # an image with damaged EXIF data is used as it is
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an opened image, of which the pixels have not been read, once it is upright."""
    width, height = image.size
    tags = getattr(image, "tag_v2", {})  # of TIFF, which Pillow turns itself, in some versions before pixels are read
    width, height = tags.get(WIDTH_TAG, width), tags.get(HEIGHT_TAG, height)
    return (height, width) if _orientation(image) >= ROTATED else (width, height)


def _upright(image: Image.Image) -> Image.Image:
    """Rotate the image by its EXIF orientation."""
    if _orientation(image) == 1:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _resized(image: Image.Image, size: tuple[int, int], framing: Framing) -> Image.Image:
    """Return an image at a width and height."""
    method = Image.Resampling[framing.interpolation.upper()]
    gap = None if framing.decoder == 1 else REDUCING_GAP
    left, top, width, height = box = _box(image.size, size, framing)
    cut = (left, top, left + width, top + height)
    inner = _inner_size(box, size) if framing.resize == "pad" else size
    resized = image.resize(inner, method, cut, reducing_gap=gap)
    if inner == size:
        return resized
    whole = Image.new(image.mode, size, FILL if image.mode == "L" else (FILL,) * 3)
    whole.paste(resized, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return whole


def _box(image: tuple[int, int], size: tuple[int, int], framing: Framing) -> tuple[float, float, float, float]:
    """Return left, top, width and height of the part of an image that is seen."""
    left, top = ((1 - framing.crop) / 2 * side for side in image)
    width, height = image[0] - 2 * left, image[1] - 2 * top
    ratio = size[0] / size[1]
    if framing.resize != "crop" or width / height == ratio:
        return left, top, width, height
    wide = width / height > ratio
    cut = (ratio * height, height) if wide else (width, width / ratio)
    return left + (width - cut[0]) / 2, top + (height - cut[1]) / 2, *cut


def _inner_size(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of an image that is fitted into a size."""
    scale = min(size[0] / box[2], size[1] / box[3])
    width, height = (min(most, max(1, round(scale * side))) for most, side in zip(size, box[2:], strict=True))
    return width, height


def _flat(image: Image.Image, channels: int, framing: Framing) -> Image.Image:
    """Return the image in 8 bits, grey or RGB, with transparent parts on white."""
    if _is_deep(image):
        image = decoder1.in_8_bits(image) if framing.decoder == 1 else _in_8_bits(image, framing)
    elif "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _is_deep(image: Image.Image) -> bool:
    """Return whether an image has a channel of more than 8 bits; in Pillow only grey images have."""
    return image.mode == "F" or image.mode.startswith("I")


def _range_of_format(image: Image.Image) -> ValueRange | None:
    """Return the range that the format of an image with more than 8 bits per channel declares, if any."""
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in FORMATS_OF_16_BITS)
    return (0.0, SIXTEEN_BITS) if sixteen else None


def _values(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)


def _in_8_bits(image: Image.Image, framing: Framing) -> Image.Image:
    """Scale deep grey values to 0..255: from the range of the format, else from that of the data set."""
    values = _values(image)
    known = framing.float_range if image.mode == "F" else framing.integer_range
    low, high = ends = _range_of_format(image) or known or standard_range(image.mode)
    if known is None and (values.min() < low or values.max() > high):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ValueRangeError(
            f"its values reach from {values.min():g} to {values.max():g}, and {kind} images of unknown range have "
            f"{low:g} to {high:g}; scale them, or convert them to 8 or 16 bits"
        )
    scaled = (np.clip(values, *ends) - low) * (255 / (high - low or 1.0))
    scaled = scaled.round().astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the value that a PNG declares transparent
        scaled[values == clear] = 255
    return Image.fromarray(scaled)


def _has_deep_transparency(image: Image.Image) -> bool:
    """Return whether an RGB image names its transparent colour in 16 bits, as a PNG of 16 bits does."""
    colour = image.info.get("transparency")
    return image.mode == "RGB" and isinstance(colour, tuple) and (_is_16_bit_png(image) or max(colour) > 255)


def _is_16_bit_png(image: Image.Image) -> bool:
    return any("16B" in str(part) for tile in getattr(image, "tile", ()) for part in tile)


def _with_alpha(image: Image.Image) -> Image.Image:
    """Return an image whose transparent colour, of 16 bits, is transparent; Pillow keeps the upper 8 of its pixels."""
    colour = [value >> 8 for value in image.info["transparency"]]
    clear = (np.asarray(image) == colour).all(-1)
    opaque = Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
    with_alpha = image.copy()
    del with_alpha.info["transparency"]
    with_alpha.putalpha(opaque)
    return with_alpha

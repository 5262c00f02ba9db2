import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convwright.data import read_image
from convwright.data.images import printable, read_header
from convwright.errors import ConvwrightError, UsageError


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def colour_of(path: Path | io.BytesIO, channels: int = 3) -> list[int]:
    """The colour of an image that has only one."""
    pixels = read_image(path, 4, channels)
    assert pixels.shape == (channels, 4, 4)
    assert pixels.dtype == torch.uint8
    assert (pixels == pixels[:, :1, :1]).all()
    return pixels[:, 0, 0].tolist()


MODES = {
    "bilevel": ("1", 1, "png", [255] * 3),
    "grey": ("L", 77, "png", [77] * 3),
    "grey, transparent": ("LA", (0, 0), "png", [255] * 3),
    "grey, half transparent": ("LA", (0, 128), "png", [127] * 3),
    "RGB": ("RGB", (10, 20, 30), "png", [10, 20, 30]),
    "RGBA": ("RGBA", (10, 20, 30, 255), "png", [10, 20, 30]),
    "RGBA, transparent": ("RGBA", (10, 20, 30, 0), "png", [255] * 3),
    "CMYK": ("CMYK", (0, 255, 255, 0), "tif", [255, 0, 0]),
    "16 bits": ("I;16", 40 * 257, "png", [40] * 3),
    "16 bits, tiff": ("I;16", 200 * 257, "tif", [200] * 3),
    "32 bits of 16": ("I", 50 * 257, "tif", [50] * 3),
}


@pytest.mark.parametrize(("mode", "colour", "suffix", "expected"), MODES.values(), ids=MODES)
def test_colour_modes(tmp_path: Path, mode: str, colour: object, suffix: str, expected: list[int]) -> None:
    path = saved(Image.new(mode, (9, 7), colour), tmp_path / f"image.{suffix}")
    assert colour_of(path) == expected
    red, green, blue = expected
    grey = round(0.299 * red + 0.587 * green + 0.114 * blue)
    assert colour_of(path, channels=1) == [pytest.approx(grey, abs=1)]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = saved(Image.new("CMYK", (9, 7), (0, 255, 255, 0)), tmp_path / "image.jpg", quality=100)
    assert colour_of(path) == pytest.approx([255, 0, 0], abs=4)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (9, 7), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert colour_of(saved(image, tmp_path / "opaque.png")) == [200, 100, 50]
    assert colour_of(saved(image, tmp_path / "clear.png", transparency=1)) == [255] * 3
    assert colour_of(saved(image, tmp_path / "clear.gif", transparency=1)) == [255] * 3


def test_deep_values_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = read_image(saved(Image.fromarray(ramp), tmp_path / "ramp.png"), 16, 1)
    assert (pixels.flatten().int() - torch.arange(256)).abs().max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_known_depth_use_their_own_range(tmp_path: Path, dtype: type) -> None:
    values = (np.arange(16).reshape(4, 4) * 1e6 - 3e6).astype(dtype)
    pixels = read_image(saved(Image.fromarray(values), tmp_path / "deep.tif"), 4, 1)
    assert pixels.flatten().tolist() == [17 * i for i in range(16)]


def test_a_float_image_of_one_value_or_with_nan(tmp_path: Path) -> None:
    values = np.full((4, 4), np.nan, np.float32)
    assert colour_of(saved(Image.fromarray(values), tmp_path / "nan.tif"), 1) == [0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (8, 8), "white")
    upright.paste("black", (0, 0, 4, 4))  # top left
    turn = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
        **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90},
        **{7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270},
    }
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(stored, tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(path, 8, 3).permute(1, 2, 0), np.array(upright))


def test_damaged_exif_data_does_not_cost_the_image(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (8, 8), (1, 2, 3)), tmp_path / "image.png", exif=b"Exif\0\0MM\0*\0\0garbage")
    assert colour_of(path) == [1, 2, 3]


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert colour_of(path) == [255, 0, 0]


@pytest.mark.parametrize("options", [{"format": "JPEG", "progressive": True}, {"format": "WEBP"}])
def test_lossy_formats(tmp_path: Path, options: dict[str, object]) -> None:
    path = saved(Image.new("RGB", (64, 48), (200, 100, 50)), tmp_path / "image.jpg", **options)
    assert read_image(path, 8, 3).float().mean((1, 2)).tolist() == pytest.approx([200, 100, 50], abs=3)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2), (101, 40)])
def test_any_shape_becomes_a_square(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(Image.new("RGB", size, (9, 8, 7)), tmp_path / "image.png")
    assert colour_of(path) == [9, 8, 7]


def test_the_centre_is_kept(tmp_path: Path) -> None:
    image = Image.new("L", (30, 10), 0)
    image.paste(255, (6, 0, 24, 10))  # a little more than the crop, for the resize looks over its edge
    assert colour_of(saved(image, tmp_path / "wide.png"), 1) == [255]
    assert colour_of(saved(image.transpose(Image.Transpose.ROTATE_90), tmp_path / "high.png"), 1) == [255]


def test_large_jpegs_decoded_at_a_fraction_look_the_same(tmp_path: Path, noise: Callable[..., Image.Image]) -> None:
    image = noise(40, 30).resize((800, 600), Image.Resampling.BICUBIC)
    jpeg = read_image(saved(image, tmp_path / "image.jpg", quality=98), 48, 3).float()
    exact = read_image(saved(image, tmp_path / "image.png"), 48, 3).float()
    assert (jpeg - exact).abs().mean() < 2


def test_open_files_are_read_too() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(buffer, "PNG")
    buffer.seek(0)
    assert colour_of(buffer) == [1, 2, 3]
    with pytest.raises(ConvwrightError, match=r"^cannot read the image: not an image of a known format$"):
        read_image(io.BytesIO(b"text"), 4, 3)


def _text(path: Path) -> None:
    path.write_text("no image")


def _truncated(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def _bomb(path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(path, "PNG")


def _large_bomb(path: Path) -> None:
    Image.new("1", (16_000, 16_000)).save(path, "PNG")


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "empty": (Path.touch, "the file is empty"),
    "text": (_text, "not an image of a known format"),
    "truncated": (_truncated, "truncated"),
    "folder": (Path.mkdir, "a folder"),
    "pipe": (os.mkfifo, "not a regular file"),
    "bomb": (_bomb, "more than 89 million pixels"),
    "large bomb": (_large_bomb, "more than 89 million pixels"),
}


@pytest.mark.parametrize(("make", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_files_are_named_with_the_reason_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "image.jpg"
    make(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvwrightError) as caught:
            read_image(path, 32, 3)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert why in message
    assert "\n" not in message
    assert not isinstance(caught.value, UsageError)
    assert caught.value.exit_status == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(paint: Callable[..., Path]) -> None:
    path = paint("secret.png")
    path.chmod(0)
    with pytest.raises(ConvwrightError, match="no permission to read it"):
        read_image(path, 4, 1)


def test_headers_tell_grey_from_colour(tmp_path: Path) -> None:
    assert all(
        read_header(saved(Image.new(mode, (9, 7)), tmp_path / "grey.tif")).grey
        for mode in ("1", "L", "LA", "I", "I;16", "F")
    )
    assert not any(
        read_header(saved(Image.new(mode, (9, 7)), tmp_path / "colour.tif")).grey
        for mode in ("RGB", "RGBA", "CMYK", "P")
    )
    assert read_header(tmp_path / "grey.tif").short_side == 7


def test_any_file_name_prints_as_one_line() -> None:
    assert printable("katze-猫-кот.jpg") == "katze-猫-кот.jpg"
    assert printable(os.fsdecode(b"caf\xe9.jpg")) == "caf\\xe9.jpg"
    assert printable("two\nlines\x1b[0m") == "two\\nlines\\x1b[0m"

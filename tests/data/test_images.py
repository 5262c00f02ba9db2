import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from convwright.arch.resolution import sides
from convwright.data import read_image
from convwright.data.framing import FILL, Framing
from convwright.data.images import decode, fitted, framing_for, printable, read_facts, read_header
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
    "32 bits of 8": ("I", 50, "tif", [50] * 3),
    "floating-point": ("F", 0.4, "tif", [102] * 3),
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


RANGES = {
    "8 bits in 32": (np.int32, [(0, 200), (5, 255)], (0, 255)),
    "16 bits in 32": (np.int32, [(0, 200), (5, 4095)], (0, 65535)),
    "32 bits": (np.int32, [(-3_000_000, 10), (0, 12_000_000)], (-3_000_000, 12_000_000)),
    "shares": (np.float32, [(0.2, 0.3), (0, 1)], (0, 1)),
    "8 bits as floats": (np.float32, [(0.2, 0.3), (0, 255)], (0, 255)),
    "16 bits as floats": (np.float32, [(0.2, 0.3), (0, 4095)], (0, 65535)),
    "heights": (np.float32, [(-11_000, 0), (0, 8848)], (-11_000, 8848)),
}


@pytest.mark.parametrize(("dtype", "values", "expected"), RANGES.values(), ids=RANGES)
def test_values_of_unknown_depth_have_the_range_of_the_data_set(
    tmp_path: Path, dtype: type, values: list[tuple[float, float]], expected: tuple[float, float]
) -> None:
    paths = []
    for number, (left, right) in enumerate(values):
        array = np.full((4, 4), left, dtype)
        array[:, 2:] = right
        paths.append(saved(Image.fromarray(array), tmp_path / f"{number}.tif"))
    framing = framing_for(map(read_header, paths))
    assert (framing.integer_range if dtype is np.int32 else framing.float_range) == expected
    low, high = expected
    for path, pair in zip(paths, values, strict=True):
        row = read_image(path, 4, 1, framing)[0, 0].tolist()
        assert [row[0], row[3]] == pytest.approx([255 * (value - low) / (high - low) for value in pair], abs=1)


@pytest.mark.parametrize(("dtype", "value", "kind"), [(np.int32, 300, "32-bit"), (np.float32, 1.5, "floating-point")])
def test_values_outside_an_unknown_range_are_refused(tmp_path: Path, dtype: type, value: float, kind: str) -> None:
    path = saved(Image.fromarray(np.full((4, 4), value, dtype)), tmp_path / "deep.tif")
    with pytest.raises(
        ConvwrightError, match=rf"reach from {value:g} to {value:g}, and {kind} images of unknown range"
    ):
        read_image(path, 4, 1)
    assert read_image(path, 4, 1, framing_for([read_header(path)])).min() >= 1


def test_values_beyond_the_range_of_the_data_set_are_clipped(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.full((4, 4), 7, np.float32)), tmp_path / "bright.tif")
    assert (read_image(path, 4, 1, Framing(float_range=(0, 1))) == 255).all()


def deep_png(path: Path, colour_type: int, values: list[int], transparent: list[int]) -> Path:
    """Write an 8 x 8 PNG of 16 bits that has one colour, and name a transparent one."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + struct.pack(f">{8 * len(values)}H", *values * 8)
    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    clear = struct.pack(f">{len(transparent)}H", *transparent)
    parts = [(b"IHDR", header), (b"tRNS", clear), (b"IDAT", zlib.compress(row * 8)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def test_the_transparent_colour_of_16_bit_pngs_is_white(tmp_path: Path) -> None:
    assert colour_of(deep_png(tmp_path / "grey.png", 0, [500], [500])) == [255] * 3
    assert colour_of(deep_png(tmp_path / "other.png", 0, [500], [501])) == [2] * 3
    colour = [1000, 2000, 3000]
    assert colour_of(deep_png(tmp_path / "colour.png", 2, colour, colour)) == [255] * 3
    assert colour_of(deep_png(tmp_path / "dark.png", 2, [10, 20, 30], [10, 20, 30])) == [255] * 3
    assert colour_of(deep_png(tmp_path / "opaque.png", 2, colour, [1000, 2000, 9000])) == [3, 7, 11]


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


FRAMINGS = (Framing(), Framing(0.875, "bilinear"), Framing(resize="pad"), Framing(0.8, resize="squash"))


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
@pytest.mark.parametrize("resolution", [32, (20, 48)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_form_of_an_image_has_the_same_pixels(
    noise: Callable[..., Image.Image], kind: str, resolution: int | tuple[int, int], framing: Framing
) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 30).resize((800, 600), Image.Resampling.BICUBIC).save(buffer, kind, exif=exif)
    content = buffer.getvalue()
    from_bytes = decode(io.BytesIO(content), resolution, 3, framing)
    opened = Image.open(io.BytesIO(content))
    assert np.array_equal(fitted(opened, resolution, 3, framing), from_bytes)
    assert np.array_equal(fitted(opened, resolution, 3, framing), from_bytes)  # now that its pixels are read
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert np.array_equal(fitted(Image.fromarray(np.asarray(upright)), resolution, 3, framing), from_bytes)
    assert from_bytes.shape == (3, *sides(resolution))


def test_pad_keeps_everything_and_squash_fills(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (40, 10), (200, 100, 50)), tmp_path / "wide.png")
    padded = read_image(path, (16, 16), 3, Framing(resize="pad"))
    assert (padded[:, 6:10].flatten(1) == torch.tensor([[200], [100], [50]])).all()
    assert (padded[:, :6] == FILL).all()
    assert (padded[:, 10:] == FILL).all()
    assert (read_image(path, (16, 16), 1, Framing(resize="pad"))[:, 0] == FILL).all()
    halves = Image.new("L", (40, 10))
    halves.paste(255, (20, 0, 40, 10))
    path = saved(halves, tmp_path / "halves.png")
    squashed = read_image(path, (8, 8), 1, Framing(resize="squash"))
    assert squashed[0, :, 0].tolist() == [0] * 8
    assert squashed[0, :, -1].tolist() == [255] * 8


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_the_size_of_turned_images_is_that_of_the_upright_one(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.new("RGB", (128, 64)), tmp_path / f"turned.{suffix}", exif=exif)
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).size
    facts, header = read_facts(path), read_header(path)
    assert (facts.width, facts.height) == (header.width, header.height) == expected


def test_decoder_1_reads_as_earlier_versions(tmp_path: Path, noise: Callable[..., Image.Image]) -> None:
    path = saved(noise(40, 30).resize((800, 600), Image.Resampling.BICUBIC), tmp_path / "image.jpg", quality=95)
    with Image.open(path) as image:
        image.draft("RGB", (96, 96))
        drafted = ImageOps.fit(image, (48, 48), method=Image.Resampling.BICUBIC)
    assert np.array_equal(decode(path, 48, 3, Framing(decoder=1)).transpose(1, 2, 0), np.asarray(drafted))
    values = np.full((4, 4), 0.9, np.float32)
    values[0] = 0.1
    path = saved(Image.fromarray(values), tmp_path / "deep.tif")
    assert set(decode(path, 4, 1, Framing(decoder=1)).flatten()) == {0, 255}


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

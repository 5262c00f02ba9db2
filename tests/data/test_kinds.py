"""Kinds of file that people have in a class folder: each is read, or named as skipped, and none is a crash."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from convwright.data import open_dataset
from convwright.data.survey import survey_data

Write = Callable[[Path], object]


def photo(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def saved(image: Image.Image, form: str, **options: object) -> Write:
    return lambda path: path.write_bytes(encoded(image, form, **options))


def frames(form: str, **options: object) -> Write:
    return saved(photo(), form, save_all=True, append_images=[photo(mode="L").convert("RGB")], **options)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def deep(dtype: type, top: float) -> Image.Image:
    return Image.fromarray((np.arange(1200).reshape(30, 40) * top / 1199).astype(dtype))


def with_chunk(name: bytes, content: bytes, *, right: bool = True) -> bytes:
    """A PNG with one more chunk after its header."""
    png = encoded(photo(), "PNG")
    check = zlib.crc32(name + content) ^ (not right)
    return png[:33] + struct.pack(">I", len(content)) + name + content + struct.pack(">I", check) + png[33:]


def wrong_crc(path: Path) -> None:
    png = bytearray(encoded(photo(), "PNG"))
    png[png.index(b"IDAT") + 20] ^= 0xFF
    path.write_bytes(png)


def huge_png(path: Path) -> None:
    png = bytearray(encoded(photo(), "PNG"))
    png[16:24] = struct.pack(">II", 100_000, 100_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    path.write_bytes(png)


def huge_gif(path: Path) -> None:
    gif = bytearray(encoded(photo(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    path.write_bytes(gif)


def closed(path: Path) -> None:
    saved(photo(), "PNG")(path)
    path.chmod(0)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def linked(path: Path) -> None:
    target = path.with_name(".target")
    saved(photo(), "PNG")(target)
    path.symlink_to(target)


READ: dict[str, tuple[str, Write]] = {
    "grey JPEG": ("1.jpg", saved(photo(mode="L"), "JPEG")),
    "progressive JPEG": ("1.jpg", saved(photo(), "JPEG", progressive=True)),
    "JPEG in CMYK": ("1.jpg", saved(photo(mode="CMYK"), "JPEG")),
    "JPEG on its side": ("1.jpg", saved(photo(), "JPEG", exif=exif(6))),
    "JPEG with an impossible orientation": ("1.jpg", saved(photo(), "JPEG", exif=exif(99))),
    "JPEG with garbage for EXIF": ("1.jpg", saved(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")),
    "JPEG with a comment and garbage behind": ("1.jpg", lambda p: p.write_bytes(encoded(photo(), "JPEG") + b"x" * 999)),
    "JPEG named .png": ("1.png", saved(photo(), "JPEG")),
    "JPEG in capitals": ("1.JPEG", saved(photo(), "JPEG")),
    "PNG named .jpg": ("1.jpg", saved(photo(), "PNG")),
    "palette PNG": ("1.png", saved(photo(mode="P"), "PNG")),
    "palette PNG with transparency": ("1.png", saved(photo(mode="P"), "PNG", transparency=0)),
    "RGBA PNG": ("1.png", saved(photo(mode="RGBA"), "PNG")),
    "grey PNG with transparency": ("1.png", saved(photo(mode="LA"), "PNG")),
    "PNG of one bit": ("1.png", saved(photo(mode="1"), "PNG")),
    "PNG of 16 bits": ("1.png", saved(deep(np.uint16, 65535), "PNG")),
    "PNG with an unknown chunk": ("1.png", lambda p: p.write_bytes(with_chunk(b"caNv", b"?"))),
    "PNG with a bomb of text": ("1.png", lambda p: p.write_bytes(with_chunk(b"teSt", zlib.compress(bytes(10**7))))),
    "animated PNG": ("1.png", frames("PNG")),
    "one pixel": ("1.png", saved(photo(1, 1), "PNG")),
    "one row": ("1.png", saved(photo(300, 1), "PNG")),
    "GIF": ("1.gif", saved(photo(mode="P"), "GIF")),
    "animated GIF": ("1.gif", frames("GIF")),
    "WebP": ("1.webp", saved(photo(), "WEBP")),
    "lossless WebP with transparency": ("1.webp", saved(photo(mode="RGBA"), "WEBP", lossless=True)),
    "animated WebP": ("1.webp", frames("WEBP")),
    "BMP": ("1.bmp", saved(photo(), "BMP")),
    "PPM": ("1.ppm", saved(photo(), "PPM")),
    "PGM, as text": ("1.pgm", lambda p: p.write_text("P2 # a comment\n2 2\n255\n0 50\n100 255\n")),
    "TGA": ("1.tga", saved(photo(), "TGA")),
    "ICO named .png": ("1.png", saved(photo(32, 32), "ICO")),
    "TIFF": ("1.tif", saved(photo(), "TIFF")),
    "TIFF of several pages": ("1.tiff", frames("TIFF")),
    "TIFF, compressed": ("1.tif", saved(photo(), "TIFF", compression="tiff_lzw")),
    "TIFF of floats": ("1.tif", saved(deep(np.float32, 1), "TIFF")),
    "TIFF of 32 bits": ("1.tif", saved(deep(np.int32, 1e6), "TIFF")),
    "TIFF in Lab": ("1.tif", saved(Image.new("LAB", (9, 9)), "TIFF")),
    "JPEG 2000": ("1.jp2", saved(photo(), "JPEG2000")),
    "a link": ("1.png", linked),
    "a name in Chinese": ("猫.png", saved(photo(), "PNG")),
    "a name in Arabic and an emoji": ("قطة 🐈.png", saved(photo(), "PNG")),
    "a name that is not UTF-8": (os.fsdecode(b"caf\xe9.png"), saved(photo(), "PNG")),
    "a name of 255 bytes": ("n" * 251 + ".png", saved(photo(), "PNG")),
    "a name with a line's end and quotes": ("a\n'\"\\ <b>.png", saved(photo(), "PNG")),
    "a name like an option": ("--help.png", saved(photo(), "PNG")),
}
if features.check("avif"):
    READ["AVIF"] = ("1.avif", saved(photo(), "AVIF"))

SKIPPED: dict[str, tuple[str, Write, str]] = {
    "empty": ("1.jpg", Path.touch, "the file is empty"),
    "text": ("1.jpg", lambda p: p.write_text("<html>404 Not Found</html>"), "not an image of a known format"),
    "zeros": ("1.png", lambda p: p.write_bytes(bytes(5000)), "not an image of a known format"),
    "truncated JPEG": ("1.jpg", lambda p: p.write_bytes(encoded(photo(), "JPEG")[:1000]), "truncated"),
    "truncated PNG": ("1.png", lambda p: p.write_bytes(encoded(photo(), "PNG")[:1000]), "truncated"),
    "truncated in its header": ("1.png", lambda p: p.write_bytes(encoded(photo(), "PNG")[:20]), ""),
    "truncated GIF": ("1.gif", lambda p: p.write_bytes(encoded(photo(), "GIF")[:900]), "truncated"),
    "truncated WebP": ("1.webp", lambda p: p.write_bytes(encoded(photo(), "WEBP")[:100]), ""),
    "truncated TIFF": ("1.tif", lambda p: p.write_bytes(encoded(photo(), "TIFF")[:300]), ""),
    "PNG with a wrong checksum": ("1.png", wrong_crc, ""),
    "PNG of ten thousand million pixels": ("1.png", huge_png, "more than 89 million pixels"),
    "GIF of four thousand million pixels": ("1.gif", huge_gif, "more than 89 million pixels"),
    "a bomb that would decode": ("1.png", saved(Image.new("1", (12_000, 12_000)), "PNG"), "more than 89 million"),
    "HEIC": ("1.heic", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99)), "not an image of a known format"),
    "a broken link": ("1.png", lambda p: p.symlink_to("nowhere.png"), "a broken link"),
    "a link to itself": ("1.png", loop, "symbolic links"),
    "a pipe": ("1.png", os.mkfifo, "not a regular file"),
    "a program": ("1.png", lambda p: p.write_bytes(b"\x7fELF" + bytes(99)), "not an image of a known format"),
}
if hasattr(os, "geteuid") and os.geteuid() != 0:  # root may read everything
    SKIPPED["without permission"] = ("1.png", closed, "no permission to read it")


def test_there_are_enough_kinds() -> None:
    assert len(READ) + len(SKIPPED) >= 60


@pytest.mark.parametrize(("name", "write"), READ.values(), ids=READ)
def test_readable_kinds(name: str, write: Write, cats_and_dogs: Path) -> None:
    (cats_and_dogs / "cats/more").mkdir()
    write(cats_and_dogs / "cats/more" / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = open_dataset(str(cats_and_dogs), max_bad=0, resolution=8)
        again = open_dataset(str(cats_and_dogs), max_bad=0, resolution=8)
    assert data.skipped == ()
    assert len(data.train) + len(data.val) == 21
    assert data.fingerprint == again.fingerprint
    assert len(survey_data(str(cats_and_dogs)).images) == 21


@pytest.mark.parametrize(("name", "write", "why"), SKIPPED.values(), ids=SKIPPED)
def test_unreadable_kinds(name: str, write: Write, why: str, cats_and_dogs: Path) -> None:
    write(cats_and_dogs / "cats" / ("bad " + name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # the second time from the cache
            data = open_dataset(str(cats_and_dogs))
            assert len(data.train) + len(data.val) == 20
            assert len(data.skipped) == 1
            assert data.skipped[0].startswith(f"cats/bad {name}: ")
            assert why in data.skipped[0]
    assert survey_data(str(cats_and_dogs)).unreadable == data.skipped


def test_a_folder_named_as_an_image_is_a_folder(cats_and_dogs: Path) -> None:
    (cats_and_dogs / "cats/1.jpg").mkdir()
    saved(photo(), "PNG")(cats_and_dogs / "cats/1.jpg/inner.png")
    data = open_dataset(str(cats_and_dogs), max_bad=0)
    assert len(data.train) + len(data.val) == 21

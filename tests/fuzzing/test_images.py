"""Fuzzing of images: damaged, cut off, bombs, odd modes; as files, in folders, in lists, and sent to a service."""

import io
import json
import random
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

import convwright as cw
from convwright.data import read_image

from ..mutations import damaged

SEEDS = st.integers(0, 2**40)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "ICO", "TGA", "JPEG2000", "PCX", "SGI", "DDS", "EPS")
"""Formats that are written; Pillow's AVIF encoder can end the process, so it is left out."""
ROTATED = Image.Exif()
ROTATED[0x0112] = 6
SIZES = ((1, 1), (1, 40), (17, 9), (64, 64), (300, 2))


def encoded(mode: str, format: str, size: tuple[int, int], draw: random.Random) -> bytes:
    """Return an image as a file, or as PNG where the format has no such mode."""
    image = Image.effect_noise(size, 90).convert("RGB")
    image = image.convert("L").convert(mode) if mode in ("I", "F", "I;16", "LA", "1") else image.convert(mode)
    frames = [image.rotate(180 * turn) for turn in range(draw.choice((1, 1, 3)))]
    options = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    for kind, changed in ((format, image), ("PNG", image.convert("RGB"))):
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                changed.save(buffer, kind, **options, exif=ROTATED)
        except (OSError, KeyError, ValueError, TypeError, SystemError):
            continue
        return buffer.getvalue()
    raise AssertionError("PNG has every mode")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(draw: random.Random) -> bytes:
    """Return a small PNG that declares many pixels, or a text that unpacks to gigabytes."""
    width, height = (draw.choice((1, 9000, 70_000, 2**31 - 1)) for _ in range(2))
    header = struct.pack(">IIBBBBB", width, height, draw.choice((1, 8, 16)), draw.choice((0, 2, 3, 6)), 0, 0, 0)
    text = chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(30_000_000))) if draw.random() < 0.3 else b""
    pixels = zlib.compress(bytes(draw.choice((10, 100_000))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def image_file(seed: int) -> bytes:
    draw = random.Random(seed)
    if draw.random() < 0.1:
        content = png_bomb(draw)
    else:
        content = encoded(draw.choice(MODES), draw.choice(FORMATS), draw.choice(SIZES), draw)
    for _ in range(draw.choice((0, 1, 1, 3))):
        content = damaged(content, draw)
    return content


FILES = SEEDS.map(image_file)


def test_image_files(fuzz, tmp_path):
    path = tmp_path / "image.png"

    def use(content: bytes) -> None:
        path.write_bytes(content)
        assert read_image(path, 8, 3).shape == (3, 8, 8)
        assert read_image(io.BytesIO(content), 8, 1).shape == (1, 8, 8)

    fuzz(FILES | st.binary(max_size=200), use, 100)


def test_folders(fuzz, tmp_path):
    """A folder that has damaged images among good ones is surveyed and opened."""
    folder = tmp_path / "photos"

    def use(contents: list[bytes]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("cats", "dogs"):
            (folder / name).mkdir(parents=True)
            for number in range(6):
                pixels = np.random.default_rng((number, len(name), ord(name[0]))).integers(
                    0, 256, (12, 12, 3), np.uint8
                )
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
        for number, content in enumerate(contents):
            (folder / "cats" / f"odd{number}.png").write_bytes(content)
        data = cw.open_data(folder, resolution=8, max_bad=0.9, cache_gb=0)
        data._repr_html_()
        data.survey.to_dict()
        assert len(data.dataset(8).train) >= 8

    fuzz(st.lists(FILES, min_size=1, max_size=3), use, 8)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(("a.png", "b.png", "none.png", "", "../a.png", "/", "\0", ".")) | st.text(max_size=5),
        st.sampled_from(("cat", "dog", "", "1", "nan", "\x1b[31m", '"')) | st.text(max_size=5),
        st.sampled_from(("train", "val", "test", "", "x")),
    ),
    max_size=12,
)


def test_lists(fuzz, tmp_path):
    """Lists of images with rows of any kind, and lists that are damaged."""
    for number, name in enumerate("abcdefgh"):
        Image.new("RGB", (9, 9), (number, 99, 20 * number)).save(tmp_path / f"{name}.png")
    good = [
        (f"{name}.png", label, split)
        for name, label, split in zip("abcdefgh", ["x", "y"] * 4, ["train"] * 8, strict=True)
    ]

    def use(value: tuple[list[tuple[str, str, str]], str, int | None]) -> None:
        rows, kind, seed = value
        if kind == "jsonl":
            text = "\n".join(json.dumps(dict(zip(("path", "label", "split"), row, strict=True))) for row in rows)
        else:
            mark = "," if kind == "csv" else "\t"
            text = "\n".join(mark.join(row) for row in [("path", "label", "split"), *rows])
        content = text.encode("utf-8", "surrogatepass")
        path = tmp_path / f"list.{kind}"
        path.write_bytes(content if seed is None else damaged(content, random.Random(seed)))
        data = cw.open_data(path, resolution=8, max_bad=0.9, cache_gb=0, val_share=0.3)
        assert len(data.dataset(8).train)

    rows = ROWS.map(lambda some: good + some) | ROWS
    fuzz(st.tuples(rows, st.sampled_from(("csv", "tsv", "jsonl")), st.none() | SEEDS), use, 60)


def test_requests_to_a_service(fuzz, tmp_path_factory, run):
    """Every answer is a prediction or a documented refusal, as JSON."""
    pytest.importorskip("fastapi")
    pytest.importorskip("onnxruntime")
    from ..serving.conftest import client_of
    from ..serving.test_refusals import refused

    path = tmp_path_factory.mktemp("service") / "digits.onnx"
    cw.open_run(run).export(path, images=60)
    types = st.sampled_from(
        ("image/png", "application/json", "multipart/form-data; boundary=x", "text/plain", "", "\xff")
    )
    parts = FILES | st.binary(max_size=100) | st.text(max_size=50).map(str.encode)
    places = st.sampled_from(("/predict", "/models", "/ready", "/metrics", "/", "/no", "/predict?top=-1", "/docs"))

    with client_of([path]) as client:

        def use(value: tuple[str, str, str, bytes]) -> None:
            method, place, kind, content = value
            headers = {"Content-Type": kind.encode("latin-1")}
            answer = client.request(method, place, content=content, headers=headers)
            if answer.status_code >= 400 and method != "HEAD":  # which has no body
                refused(answer)

        methods = st.sampled_from(("POST", "POST", "POST", "GET", "PUT", "HEAD"))
        fuzz(st.tuples(methods, places, types, parts), use, 40)

"""Folders of images to read, and no way out to the network."""

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..kernels import share_kernels


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    cache = tmp_path_factory.mktemp("cache")  # not in `tmp_path`, which many tests read as data
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    share_kernels(cache)


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Write an image of one colour, by default grey, below the test's folder ``images``."""

    def write(name: str, colour: object = 128, mode: str = "L", size: tuple[int, int] = (16, 12)) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, colour).save(path)
        return path

    return write


@pytest.fixture
def cats_and_dogs(paint: Callable[..., Path], tmp_path: Path) -> Path:
    """Two classes of ten images; each image has a value of its own."""
    for i in range(10):
        paint(f"cats/{i}.png", 10 + i)
        paint(f"dogs/{i}.png", 200 + i)
    return tmp_path / "images"


@pytest.fixture
def noise() -> Callable[..., Image.Image]:
    def image(width: int, height: int, seed: int = 0) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return image

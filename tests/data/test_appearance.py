"""What images look like: their number, size, colours and kind, from a sample."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.appearance import HEADERS, appearance_of, spread
from convwright.data.opened import Data

from ..photos import temple_and_flower


def folder(root: Path, image, count: int = 6) -> Path:
    for name in ("one", "two"):
        (root / name).mkdir(parents=True)
        for index in range(count):
            image(index).save(root / name / f"{index}.png")
    return root


def disc(index: int, colour: tuple[int, int, int] = (200, 30, 90), side: int = 64) -> Image.Image:
    rows, columns = np.mgrid[:side, :side]
    inside = (rows - side // 2) ** 2 + (columns - side // 2) ** 2 < (side // 4 + index) ** 2
    return Image.fromarray(np.where(inside[..., None], np.uint8(colour), np.uint8(255)))


def test_photographs_are_told_from_drawings(tmp_path):
    (tmp_path / "photos").mkdir()
    photos = appearance_of(Data(str(temple_and_flower(tmp_path / "photos"))))
    assert (photos.images, photos.classes, photos.side) == (48, 2, 160)
    assert photos.coloured
    assert photos.photographs
    drawings = appearance_of(Data(str(folder(tmp_path / "drawings", disc))))
    assert drawings.coloured
    assert not drawings.photographs


def test_grey_values_saved_in_colour_are_grey(tmp_path):
    found = appearance_of(Data(str(folder(tmp_path / "grey", lambda index: disc(index, (90, 90, 90))))))
    assert not found.coloured


def test_unreadable_files_do_not_count(tmp_path):
    root = folder(tmp_path / "data", disc)
    for name in ("one", "two"):
        (root / name / "broken.png").write_bytes(b"no image")
    assert appearance_of(Data(str(root))).side == 64
    for file in root.glob("*/[0-9].png"):
        file.write_bytes(b"no image")
    with pytest.raises(cw.ConvwrightError, match="none of the training images"):
        appearance_of(Data(str(root)))


def test_arrays_and_lists_look_like_the_folder_they_are_of(tmp_path):
    root = folder(tmp_path / "data", disc)
    files = sorted(root.glob("*/*.png"))
    rows = [f"{file.relative_to(tmp_path)},{file.parent.name}" for file in files]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    arrays = cw.open_data(images=pixels, labels=[file.parent.name for file in files])
    expected = appearance_of(Data(str(root)))
    assert appearance_of(Data(str(tmp_path / "list.csv"))) == expected
    assert appearance_of(arrays) == expected


@pytest.mark.parametrize("count", [1, 7, HEADERS, 3 * HEADERS + 1])
def test_a_sample_is_spread_over_all(count):
    chosen = spread(count, HEADERS)
    assert len(chosen) == min(count, HEADERS) == len(set(chosen))
    assert 0 <= min(chosen) <= max(chosen) < count
    if count > HEADERS:
        assert max(chosen) > 0.99 * count - 4

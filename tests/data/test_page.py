"""The page of a survey on a telephone: what is too wide scrolls inside its own box."""

from pathlib import Path

import pytest

import convwright as cw
from convwright.data.opened import Data

from ..chromium import EXECUTABLE, Browser
from ..photos import temple_and_flower

WIDE = """
[...document.querySelectorAll('table, pre')].filter(each => {
  const box = each.closest('.scroll');
  return !box || box.getBoundingClientRect().right > innerWidth || getComputedStyle(box).overflowX !== 'auto';
}).map(each => each.outerHTML.slice(0, 80))
"""


@pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")
def test_tables_scroll_inside_their_own_box(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        (tmp_path / "photos" / split).mkdir(parents=True)
        temple_and_flower(tmp_path / "photos" / split)
        (tmp_path / "photos" / split / "flower").rename(tmp_path / "photos" / split / ("flower_" * 20))
    pages = {"survey": Data(str(tmp_path / "photos")).survey, "network": cw.describe("inception_v4", layers=True)}
    with Browser() as browser:
        for name, result in pages.items():
            result.save_html(tmp_path / f"{name}.html")
            browser.open(tmp_path / f"{name}.html", width=390)
            assert browser.run("document.querySelectorAll('table').length") > 0
            assert browser.run(WIDE) == []
            assert browser.run("document.documentElement.scrollWidth") <= 390, name


@pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_accessible(tmp_path: Path, dark: bool) -> None:
    (tmp_path / "photos").mkdir()
    temple_and_flower(tmp_path / "photos")
    results = {"survey": Data(str(tmp_path / "photos")).survey, "network": cw.describe("cifar_resnet8|se:16")}
    with Browser() as browser:
        for name, result in results.items():
            result.save_html(tmp_path / f"{name}.html")
            browser.open(tmp_path / f"{name}.html", width=390 if dark else 1280, dark=dark)
            assert browser.violations() == [], name

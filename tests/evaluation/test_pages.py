"""Pages of evaluations on a phone: nothing is cut, and matrices stay matrices."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from convwright.evaluation.comparison import Comparison

from ..chromium import EXECUTABLE, Browser
from .test_result import NAMES, evaluation

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")

WIDER = """[...document.querySelectorAll('body, .content *')]
  .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== 'inline')
  .filter(each => !(each.matches('.scroll') && each.querySelector('.matrix')) && !each.closest('.matrix'))
  .filter(each => !each.closest('thead'))
  .map(each => each.tagName + ': ' + each.textContent.slice(0, 60))"""
"""Parts of the page with content that is wider than they are, and therefore cut or scrolled."""
OUTSIDE = """[...document.querySelectorAll('.plot')].flatMap(plot => {
  const frame = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('.xtick text, .ytick text, .xtitle, .ytitle')]
    .filter(text => text.getBoundingClientRect().left < frame.left - 1
                 || text.getBoundingClientRect().right > frame.right + 1)
    .map(text => text.textContent);
})"""
TICKS = "[...document.querySelector('.plot').querySelectorAll('.ytick text')].map(text => text.textContent)"
ROWS = "[...document.querySelectorAll('.matrix tbody tr')].map(row => row.getBoundingClientRect().height)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_an_evaluation_is_not_cut(browser: Browser, names: tuple[str, ...], width: int, tmp_path: Path) -> None:
    labels = [*range(len(names))] * 12
    found = evaluation([0 if place % 7 == 0 else label for place, label in enumerate(labels)], labels, names)
    found.save_html(tmp_path / "page.html")
    browser.open(tmp_path / "page.html", width)
    assert browser.run(WIDER) == []
    assert browser.run(OUTSIDE) == []
    ticks = browser.run(TICKS)
    assert len(set(ticks)) == len(ticks)
    if len(names) <= 20:
        rows = browser.run(ROWS)
        assert len(rows) == len(names)
        assert max(rows) < 120


def test_a_comparison_is_not_cut(browser: Browser, tmp_path: Path) -> None:
    labels = [*range(10)] * 3
    first = evaluation([1, *labels[1:]], labels, NAMES["words"])
    name = "densenet_bc_l40_k12|scale:d=0.3,w=1.25|se:16|fit:16|classes:18"
    second = dataclasses.replace(first, run="a/long/path/to/the/folder/of/a/run/" + "x" * 40, network=name)
    Comparison(first, second).save_html(tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 390)
    assert browser.run(WIDER) == []

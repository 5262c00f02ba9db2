"""The page in a real browser: every figure drawn, no errors in the console, no network requests."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from convwright.reporting import Entry, Report, compose

from ..chromium import EXECUTABLE, Browser
from .pages import write_report

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")

EVERY = "[...document.querySelectorAll('.plot')]"
DRAWN = f"{EVERY}.map(p => p.querySelectorAll('.main-svg .trace, .main-svg .hm image').length)"
LOADED = "[...document.images].map(image => image.complete && image.naturalWidth > 0)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDTHS = f"{EVERY}.map(p => [p.clientWidth, p.querySelector('.main-svg').clientWidth])"
TEXT_COLOUR = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(measured: list[Entry]) -> Report:
    return compose("Three families on digits", measured)


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.save_html(path)
    return path


@pytest.fixture(autouse=True)
def _in_peace(browser: Browser) -> Iterator[None]:
    yield
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1920, 1400, 390])
def test_every_figure_is_drawn(browser: Browser, report: Report, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width, dark=dark)
    drawn = browser.run(DRAWN)
    assert len(drawn) == sum(len(figure.panels) for figure in report.figures) > 15
    assert all(drawn), drawn
    loaded = browser.run(LOADED)
    galleries = [gallery for figure in report.figures for gallery in figure.galleries]
    assert len(loaded) == sum(len(gallery.pictures) for gallery in galleries) > 30
    assert all(loaded)
    assert browser.run(OVERFLOW) <= 0, "the page scrolls sideways"
    assert all(plot == drawing for plot, drawing in browser.run(WIDTHS))


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_the_page_is_accessible(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width, dark=dark)
    assert browser.violations() == []


OUTSIDE = f"""{EVERY}.map(plot => {{
  const frame = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('.annotation-text, .xtick text, .ytick text, .xtitle, .ytitle')]
    .map(text => text.getBoundingClientRect())
    .filter(box => box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1).length;
}})"""
"""Number of names and labels that reach out of each plot."""
LANDMARKS = """[...document.querySelectorAll('nav, section[aria-labelledby], [role=region]')].map(each =>
  each.getAttribute('aria-label') || document.getElementById(each.getAttribute('aria-labelledby')).textContent)"""
"""Names of the parts of the page that a screen reader lists."""


@pytest.mark.parametrize(
    "names", [("a", "b", "c"), ("a long name of an experiment", "another one, also long", "abcdefgmno" * 7)]
)
def test_names_stay_inside_their_plots_on_a_phone(
    browser: Browser, measured: list[Entry], names: tuple[str, ...], tmp_path: Path
) -> None:
    entries = [replace(entry, title=name) for entry, name in zip(measured, names, strict=True)]
    compose("Names", entries).save_html(tmp_path / "report.html")
    browser.open(tmp_path / "report.html", 390)
    assert not any(browser.run(OUTSIDE)), browser.run(OUTSIDE)


def test_every_landmark_has_a_name_of_its_own(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    names = browser.run(LANDMARKS)
    assert len(names) > 10
    assert len(set(names)) == len(names), names


def test_figures_follow_the_width_and_the_colour_scheme(browser: Browser, page: Path) -> None:
    browser.open(page, 1400)
    light = browser.run(TEXT_COLOUR)
    browser.prefer(dark=True)
    browser.settle()
    assert browser.run(TEXT_COLOUR) != light
    browser.resize(500, 900)
    browser.settle()
    assert all(plot == drawing < 500 for plot, drawing in browser.run(WIDTHS))


def test_paper_is_light(browser: Browser, page: Path) -> None:
    browser.open(page, 1400)
    light = browser.run(TEXT_COLOUR)
    browser.open(page, 1400, dark=True)
    browser.run(f"addEventListener('beforeprint', () => window.printed = {TEXT_COLOUR})")
    assert browser.pdf().startswith(b"%PDF")
    assert browser.run("window.printed") == light
    assert browser.run(TEXT_COLOUR) != light


def test_architectures_open(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    browser.run("document.querySelectorAll('details').forEach(details => details.open = true)")
    browser.settle()
    assert all(browser.run("[...document.querySelectorAll('.diagram svg')].map(svg => svg.clientHeight > 100)"))
    assert browser.run(OVERFLOW) <= 0


def test_odd_titles_and_runs_are_drawn(
    browser: Browser, entry: Callable[..., Entry], unfinished: Entry, tmp_path: Path
) -> None:
    odd = [entry("SE-ResNet", right, title) for right, title in ((359, "<i>&amp;"), (0, "网络 " * 20), (1, "x" * 60))]
    write_report(tmp_path / "report.html", "Odd", [*odd, unfinished])
    browser.open(tmp_path / "report.html", 390)
    assert all(browser.run(DRAWN))
    assert browser.run(OVERFLOW) <= 0


def test_one_network_and_networks_of_different_data_are_drawn(
    browser: Browser, measured: list[Entry], entry: Callable[..., Entry], tmp_path: Path
) -> None:
    apart = replace(entry("SE-ResNet", title="elsewhere"), split="val", images=143)
    for name, entries in (("one", measured[1:2]), ("apart", [measured[0], apart])):
        write_report(tmp_path / f"{name}.html", name, entries)
        browser.open(tmp_path / f"{name}.html", 390)
        assert all(browser.run(DRAWN))
        assert browser.run(OVERFLOW) <= 0

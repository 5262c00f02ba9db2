import csv
import io
from pathlib import Path

import pytest

import convwright as cw

from ..chromium import EXECUTABLE, Browser

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    cw.curate("digits", features="pixels").save_html(path)
    return path


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        for kind in ("keyDown", "keyUp"):
            browser.ask("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")


def decisions(browser: Browser) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(browser.run("decisionsAsCsv()"))))


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_its_window_and_needs_nothing_else(page, width):
    with Browser() as browser:
        browser.open(page, width=width)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('.suspect img').length") > 0
        assert browser.complaints == []
        assert [each for each in browser.requests if not each.startswith(("file:", "data:"))] == []


def test_keys_decide_and_the_file_has_the_decisions(page, tmp_path):
    with Browser() as browser:
        browser.open(page)
        assert browser.run("document.getElementById('download').disabled")
        press(browser, "j", "y", "n", "x")
        names = browser.run("cards.map(card => [card.dataset.name, card.dataset.proposal])")
        made = decisions(browser)
        assert [(row["path"], row["decision"]) for row in made] == [
            (names[0][0], names[0][1]),
            (names[1][0], "keep"),
            (names[2][0], "drop"),
        ]
        assert browser.run("document.getElementById('count').textContent").startswith("3 of ")
        press(browser, "k", "u")
        assert len(decisions(browser)) == 2
        browser.run("document.getElementById('confident').click()")
        (tmp_path / "decisions.csv").write_text(browser.run("decisionsAsCsv()"))
        count = len(decisions(browser))
        assert browser.complaints == []
    applied = cw.curate("digits", accept=tmp_path / "decisions.csv")
    assert len(applied.decisions) == count


def test_another_class_can_be_chosen(page):
    with Browser() as browser:
        browser.open(page)
        browser.run(
            "(() => { const select = document.querySelector('.suspect select');"
            "select.dispatchEvent(new Event('pointerdown'));"
            "select.value = '7'; select.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )
        assert [row["label"] for row in decisions(browser)] == ["7"]


def test_texts_that_a_spreadsheet_would_run_are_quoted(page):
    with Browser() as browser:
        browser.open(page)
        assert browser.run("""cell('=1+1')""") == "'=1+1"
        assert browser.run("""cell('a"b,c')""") == '"a""b,c"'
        assert browser.run("""cell('')""") == ""

"""reproduce: the table, the JSON, the page."""

import json

import pytest

from convwright.reproduction import Claim, PaperOutcomes, judge, result

from ..chromium import EXECUTABLE, Browser


def test_the_table_holds_every_claim_and_counts_them(convwright):
    answer = convwright("reproduce", "SENet")
    assert answer.status == 0
    assert "SE-ResNet-50: more multiply-adds than ResNet-50" in answer.out
    assert "12 equal" in answer.out
    assert "EfficientNet-B0" not in answer.out


def test_json_has_unrounded_figures(convwright):
    rows = json.loads(convwright("reproduce", "--json").out)
    assert {row["paper"] for row in rows} == {"densenet", "senet", "efficientnet"}
    b0 = next(row for row in rows if row["subject"] == "EfficientNet-B0" and row["quantity"] == "parameters")
    assert (b0["printed"], b0["computed"], b0["verdict"]) == ("5.3", 5.288548, "equal")


def test_a_wrong_figure_is_printed_and_fails(convwright, monkeypatch):
    claim = Claim("here", "ResNet-50", "size", "1.0", "M", lambda: 2.0)
    wrong = PaperOutcomes("senet", "A paper", (judge(claim),))
    monkeypatch.setattr(result, "outcomes_of", lambda paper: wrong)
    answer = convwright("reproduce", "senet")
    assert answer.status == 1
    assert "ResNet-50: size" in answer.out
    assert answer.message == "convwright: 1 figures are wrong: ResNet-50"


def test_an_unknown_paper(convwright):
    answer = convwright("reproduce", "alexnet")
    assert answer.status == 2
    assert "no paper 'alexnet'" in answer.message


@pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "dark"), [(1300, False), (390, True)])
def test_the_page_is_drawn_in_a_browser(convwright, tmp_path, width, dark):
    page = tmp_path / "page.html"
    written = convwright("reproduce", "--html", page)
    assert (written.status, written.out.splitlines()[-1]) == (0, f"page: {page}")
    assert page.stat().st_size < 10e6
    with Browser() as browser:
        browser.open(page, width, dark=dark)
        drawn = browser.run("[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.trace').length)")
        assert drawn == [2, 2]
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert browser.run("document.querySelectorAll('.claims tbody tr').length") > 100
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith("file:")] == []

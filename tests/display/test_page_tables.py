"""Tables of pages stay readable beside wide columns."""

import pytest
from tests.chromium import EXECUTABLE, Browser

from convwright.display.plotly_figures import STYLE_SHEET

TEXT = "statistically behind: 15.9 points behind another network " * 2
WIDTH = "document.querySelector('td.text').clientWidth / parseFloat(getComputedStyle(document.body).fontSize)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("columns", [2, 8, 16])
def test_a_column_of_text_keeps_a_width_that_can_be_read(width, columns, tmp_path) -> None:
    cells = "<td>a cell that is not broken</td>" * columns
    page = tmp_path / "page.html"
    page.write_text(
        f"<meta charset=utf-8><style>{STYLE_SHEET.read_text(encoding='utf-8')}</style>"
        f"<main><div class=scroll><table><tr><th>name</th>{cells}<td class=text>{TEXT}</td></tr></table>",
        encoding="utf-8",
    )
    with Browser() as browser:
        browser.open(page, width)
        assert browser.run(WIDTH) > 10
        assert browser.run(OVERFLOW) <= 0

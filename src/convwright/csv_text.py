"""CSV as every command writes it: untrusted text cannot become a formula in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"  # spreadsheets treat full-width signs like the others
"""First characters by which spreadsheets recognise a formula."""
_QUOTED_BREAKS = "\r\n"  # cells with characters of the line terminator are quoted
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def csv_row(cells: Iterable[object]) -> str:
    """Return one row of CSV, without a line break at its end.

    Numbers, also formatted ones, are not changed. Other text that a spreadsheet would read as a formula gets a
    leading apostrophe: `=1+1` becomes `'=1+1`.

    Args:
        cells: Texts and numbers, one a column.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=_QUOTED_BREAKS).writerow([_harmless(cell) for cell in cells])
    return text.getvalue().removesuffix(_QUOTED_BREAKS)


def csv_table(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV text, each ended by a line break; see `csv_row`."""
    return "".join(csv_row(row) + "\n" for row in rows)


def _harmless(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(tuple(FORMULA_STARTS)) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell

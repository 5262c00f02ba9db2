"""CSV as every command writes it: text from outside cannot become a spreadsheet's formula."""

import csv
import io
import re
from collections.abc import Iterable

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"  # spreadsheets take the full-width signs for the others
"""First characters with which spreadsheets take a cell for a formula."""
_QUOTED_BREAKS = "\r\n"  # cells with characters of the line terminator are quoted
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def csv_row(cells: Iterable[object]) -> str:
    """Return one row of CSV, without a line break at its end.

    Numbers, also formatted ones, stay as they are. Other text that a spreadsheet would take for a formula gets a
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

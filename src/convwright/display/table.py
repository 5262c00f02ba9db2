"""Plain tables for terminals and pipes. Rich would draw them too, but importing it would slow every start."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from convwright.printable import BOLD, PLAIN, printable

GAP = "  "
NARROW = 28
"""Least width of a last column beside the others."""
NARROWEST = 8
"""Least width of a first column from which long names are taken out."""
PIPED = 120
"""Width of output that does not go to a terminal."""

Row = Sequence[str] | str
"""Cells, or a heading that stands alone on its line."""


def table(titles: Sequence[str], rows: Sequence[Row], *, left: int = 1, width: int | None = None) -> str:
    """Return rows under titles as text.

    Nothing is cut. The last column is wrapped to the width that the others leave; where they leave less than `NARROW`
    columns, it goes below its row. A name in the first column that is too long for the width has a line of its own,
    above the rest of its row.

    Args:
        titles: Title of each column.
        rows: Rows, and headings that stand alone on their line.
        left: How many columns, from the first one, are aligned to the left. The last column is too.
        width: Width in characters; by default that of the terminal.
    """
    width = terminal_width() if width is None else width
    titles = [printable(title) for title in titles]
    rows = [printable(row) if isinstance(row, str) else [printable(cell) for cell in row] for row in rows]
    cells = [row for row in rows if not isinstance(row, str)]
    wide = [max(map(len, column)) for column in zip(titles[:-1], *(row[:-1] for row in cells), strict=True)]
    wide[:1] = _first_width(titles, cells, wide, width)
    room = width - sum(wide) - len(GAP) * len(wide)
    below = room < min(NARROW, max(len(row[-1]) for row in (titles, *cells)))
    lines = [emphasised(_beside(titles, wide, left, 0 if below else room)[0])]
    for row in rows:
        if not isinstance(row, str) and wide and len(row[0]) > wide[0]:
            lines.append(row[0])
            row = ["", *row[1:]]
        if isinstance(row, str):
            lines.append(emphasised(row))
        elif below:
            lines += [*_beside((*row[:-1], ""), wide, left, 0), *_filled(row[-1], width)]
        else:
            lines += _beside(row, wide, left, room)
    return "\n".join(lines)


def _first_width(titles: Sequence[str], cells: Sequence[Sequence[str]], wide: Sequence[int], width: int) -> list[int]:
    """Return the width of the first column: less than that of its longest name where the table would be too wide."""
    if not wide or sum(wide) + len(GAP) * (len(wide) - 1) <= width:
        return list(wide[:1])
    last = min(NARROW, max(len(row[-1]) for row in (titles, *cells)))
    for beside in (last, 0):  # the last column stays beside the others if possible
        room = width - sum(wide[1:]) - len(GAP) * len(wide) - beside
        if room >= max(NARROWEST, len(titles[0])):
            return [max(len(row[0]) for row in (titles, *cells) if len(row[0]) <= room)]
    return list(wide[:1])


def _beside(row: Sequence[str], wide: Sequence[int], left: int, room: int) -> list[str]:
    """Return the lines of a row, with its last cell wrapped to `room` beside the others; 0 leaves the cell out."""
    *figures, last = row
    padded = [
        cell.ljust(size) if index < left else cell.rjust(size)
        for index, (cell, size) in enumerate(zip(figures, wide, strict=True))
    ]
    line = GAP.join(padded) + GAP
    first, *more = (textwrap.wrap(last, room, break_long_words=False) if room else []) or [""]
    return [(line + first).rstrip(), *(" " * len(line) + text for text in more)]


def _filled(text: str, width: int) -> list[str]:
    indent = " " * 4
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)


def paragraph(text: str) -> str:
    """Return text that is wrapped to the width of the terminal."""
    return textwrap.fill(text, terminal_width(), break_long_words=False, break_on_hyphens=False)


def emphasised(text: str) -> str:
    """Return text in bold type for a terminal that supports it, else as it is."""
    plain = (
        sys.stdout is None or not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    )
    text = printable(text)
    return text if plain or not text else f"{BOLD}{text}{PLAIN}"


def terminal_width() -> int:
    """Return the width of the terminal in columns, or the value of `COLUMNS`; at least 40."""
    return max(40, shutil.get_terminal_size((PIPED, 24)).columns)

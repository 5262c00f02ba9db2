"""Plain tables for terminals and pipes. Rich would draw them too, but importing it would slow every start."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from convwright.printable import BOLD, PLAIN, printable

GAP = "  "
NARROW = 28
"""A last column with less room than this goes below its row instead of beside it."""
PIPED = 120
"""Width where there is no terminal to fit."""

Row = Sequence[str] | str
"""Cells, or a heading that stands alone on its line."""


def table(titles: Sequence[str], rows: Sequence[Row], *, left: int = 1, width: int | None = None) -> str:
    """Lay out rows under titles. The first `left` columns and the last one are text, the others figures.

    Figures are never cut short. The last column takes what room there is: beside the others and wrapped where
    it must be, or on a line of its own where hardly any is left.
    """
    width = terminal_width() if width is None else width
    titles = [printable(title) for title in titles]
    rows = [printable(row) if isinstance(row, str) else [printable(cell) for cell in row] for row in rows]
    cells = [row for row in rows if not isinstance(row, str)]
    wide = [max(map(len, column)) for column in zip(titles[:-1], *(row[:-1] for row in cells), strict=True)]
    room = width - sum(wide) - len(GAP) * len(wide)
    below = room < min(NARROW, max(len(row[-1]) for row in (titles, *cells)))
    lines = [emphasised(_beside(titles, wide, left, 0 if below else room)[0])]
    for row in rows:
        if isinstance(row, str):
            lines.append(emphasised(row))
        elif below:
            lines += [*_beside((*row[:-1], ""), wide, left, 0), *_filled(row[-1], width)]
        else:
            lines += _beside(row, wide, left, room)
    return "\n".join(lines)


def _beside(row: Sequence[str], wide: Sequence[int], left: int, room: int) -> list[str]:
    """A row whose last cell hangs in the room beside the others; no room, no last cell."""
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
    """Wrap a sentence or more to the terminal."""
    return textwrap.fill(text, terminal_width(), break_long_words=False, break_on_hyphens=False)


def emphasised(text: str) -> str:
    """Bold on a terminal that shows it, plain in a pipe."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    text = printable(text)
    return text if plain or not text else f"{BOLD}{text}{PLAIN}"


def terminal_width() -> int:
    """Columns of the terminal (or COLUMNS, if that is set)."""
    return max(40, shutil.get_terminal_size((PIPED, 24)).columns)

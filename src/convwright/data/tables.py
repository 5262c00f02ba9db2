"""Tables that users write: CSV, TSV, JSON Lines and Parquet, as rows of cells under named columns."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convwright import json_text
from convwright.csv_text import FORMULA_STARTS
from convwright.errors import DataError
from convwright.extras import require_package
from convwright.files import as_utf8
from convwright.printable import printable

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = frozenset({*SEPARATORS, ".jsonl", ".ndjson", ".parquet"})
"""Suffixes of the files that can be read."""
_EXAMPLE = '{"path": "cats/1.jpg", "label": "cat"}'


class Row(NamedTuple):
    """A row of a table."""

    line: int
    """Its line in the file, from 1; for Parquet, its row."""
    cells: list[Any]
    """A cell for each column: texts in CSV; in other formats also numbers, lists and None."""


class Table(NamedTuple):
    """A table: the names of its columns, and its rows."""

    names: list[str]
    rows: list[Row]


def read_table(path: Path) -> Table:
    """Read a table.

    Texts may have a byte-order mark and any line ends. Bytes of CSV that are not UTF-8 become surrogates, as in the
    names of files.

    Raises:
        DataError: The file cannot be read or has no rows; the message names the line that is wrong.
        UsageError: The package that reads Parquet is missing; the message has the command to install it.
    """
    readers: dict[str, Callable[[Path], Table]] = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".parquet": _parquet,
    }
    try:
        table = readers.get(path.suffix.lower(), _csv)(path)
    except OSError as error:
        raise DataError(f"cannot read {printable(path)}: {error.strerror or error}") from None
    if not table.rows:
        raise DataError(f"{printable(path)} has no rows; it must have one for each image, under a line of column names")
    if twice := [name for name, count in Counter(table.names).items() if count > 1]:
        raise DataError(f"{printable(path)} has two columns {printable(twice[0])!r}; rename one of them")
    return table


def _csv(path: Path) -> Table:
    text = as_utf8(path.read_bytes()).decode("utf-8", "surrogateescape")
    separator = SEPARATORS.get(path.suffix.lower(), ",")
    header = text.partition("\n")[0]
    if separator not in header and ";" in header:  # what Excel writes where the comma is the decimal sign
        separator = ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    rows: list[Row] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise DataError(
                    f"{printable(path)}: line {reader.line_num} has {len(cells)} cells, and the first line {len(names)}"
                )
            rows.append(Row(reader.line_num, [_without_apostrophe(cell) for cell in cells]))
    except csv.Error as error:
        raise DataError(f"{printable(path)}: line {reader.line_num}: not readable CSV: {printable(error)}") from None
    return Table(names, rows)


def _without_apostrophe(cell: str) -> str:
    """Return a cell without the apostrophe that keeps spreadsheets from reading text as a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(tuple(FORMULA_STARTS)) else cell


def _json_lines(path: Path) -> Table:
    places: dict[str, int] = {}
    members: list[tuple[int, dict[str, Any]]] = []
    for line, content in enumerate(as_utf8(path.read_bytes()).split(b"\n"), 1):
        if not content.strip():
            continue
        found = json_text.parse(content, f"{printable(path)}: line {line}", DataError)
        if not isinstance(found, dict):
            raise DataError(f"{printable(path)}: line {line} must be an object such as {_EXAMPLE}")
        for name in found:
            places.setdefault(name, len(places))
        members.append((line, found))
    return Table([*places], [Row(line, [found.get(name) for name in places]) for line, found in members])


def _parquet(path: Path) -> Table:
    parquet = require_package("pyarrow.parquet", "reading Parquet files")
    path.stat()  # an error of the system's own where the file is missing
    try:
        table = parquet.read_table(path)
    except Exception as error:  # of another package, about a damaged file
        raise DataError(f"{printable(path)}: not readable Parquet: {' '.join(str(error).split()):.200}") from None
    columns = [table.column(name).to_pylist() for name in table.column_names]
    rows: Iterator[tuple[Any, ...]] = zip(*columns, strict=True)
    return Table(list(table.column_names), [Row(number, list(cells)) for number, cells in enumerate(rows, 1)])

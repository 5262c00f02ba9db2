"""Text from outside is safe on a terminal, and exact in JSON and CSV."""

import csv
import io
import json
import os
import shlex
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convwright.csv_text import FORMULA_STARTS, csv_row, csv_table
from convwright.json_text import dump
from convwright.printable import BOLD, PLAIN, escape_in_json, printable, printable_lines, quoted

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""Also control characters, marks of direction and lone surrogates."""
HOSTILE = ("\x1b[2J", "a\nb", "\x9b31m", "\x7f", "\u202eexe.gnp", "\ud800", os.fsdecode(b"caf\xe9"), "tab\t", "\u2028")


def spaces_replaced(text):
    """Wide and non-breaking spaces are no harm on a terminal, though Python calls them unprintable."""
    return "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)


@given(ANY_TEXT)
def test_a_name_is_one_line_of_printable_text(text):
    assert spaces_replaced(printable(text)).isprintable()
    printable(text).encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_printable_is_spelled_out(text):
    assert printable(text) != text
    assert "\\" in printable(text)


@given(st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" ")))
def test_printable_text_stays_as_it_is(text):
    assert printable(text) == text == printable_lines(text)


@given(ANY_TEXT)
def test_lines_keep_breaks_and_our_own_bold_print_only(text):
    safe = printable_lines(f"{BOLD}{text}{PLAIN}\n{text}")
    assert safe.startswith(BOLD)
    rest = safe.replace(BOLD, "").replace(PLAIN, "")
    assert spaces_replaced(rest.replace("\n", "")).isprintable()
    assert rest.count("\n") == 2 * text.count("\n") + 1


@given(st.dictionaries(ANY_TEXT, ANY_TEXT), st.sampled_from([None, 1]), st.booleans())
@example({text: text for text in HOSTILE}, 1, False)
def test_json_on_a_screen_holds_the_same_value(value, indent, ascii_only):
    text = escape_in_json(dump(value, indent=indent, ascii_only=ascii_only))
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == value


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(st.lists(CELLS, min_size=1))
@example(["=1+1", "+cmd", "-2+3", "@sum", "\t=1", "\r=1", "\n=1", "＝1", "a\nb", 'say "x"', "a,b"])
def test_no_cell_is_a_formula_and_only_those_change(cells):
    (read,) = csv.reader(io.StringIO(csv_row(cells), newline=""))
    for cell, written in zip(cells, read, strict=True):
        assert written.removeprefix("'" if written != cell else "") == cell
        assert not written.startswith(tuple(FORMULA_STARTS)) or _is_number(written)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("number", [-1, 0.5, -2.5e-07, "-0.25", "+3", "-1.5e-07", "-.5"])
def test_numbers_stay_numbers(number):
    assert csv_row([number, "x"]) == f"{number},x"


def test_a_table_has_a_row_on_each_line():
    assert csv_table([("a", 1), ("=b", 2)]) == "a,1\n'=b,2\n"


@given(ANY_TEXT.filter(lambda text: "\0" not in text))
@example("-x")
@example("my run")
def test_a_quoted_path_is_one_word_and_no_option(text):
    (word,) = shlex.split(f"{quoted(text)}")
    assert word in (text, f"./{text}")
    assert not word.startswith("-")

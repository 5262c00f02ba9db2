"""Tables as text: nothing is cut, and no line with figures is wider than the terminal."""

import pytest

from convwright.display.table import table

LONG = "a_class_with_a_name_that_is_longer_than_the_terminal_is_wide_as_in_a_taxonomy_of_plants"


def test_a_name_that_is_too_long_has_a_line_of_its_own() -> None:
    lines = table(("class", "train", "test", ""), [(LONG, "1,234", "12", "####"), ("oak", "5", "6", "#")], width=80)
    assert lines.splitlines() == [
        "class  train  test",
        LONG,
        "       1,234    12  ####",
        "oak        5     6  #",
    ]


@pytest.mark.parametrize("last", ["", "conv 3×3, 256, /2", "a sentence of several words that is wrapped"])
def test_no_line_of_figures_is_wider_than_the_terminal(last: str) -> None:
    rows = [("x" * size, *["99.9 MB"] * 5, last) for size in range(1, 120)]
    lines = table(("layer", *["figure"] * 5, "what"), rows, width=80).splitlines()
    assert all(len(line) <= 80 or not line.strip("x") for line in lines)
    assert sum(line.count("99.9 MB") for line in lines) == 5 * len(rows)
    assert {line for line in lines if not line.strip("x")} >= {"x" * 100, "x" * 119}


def test_a_table_that_fits_keeps_one_line_a_row() -> None:
    assert table(("name", "params"), [("x" * 60, "1 k"), ("y", "2 k")], width=80).splitlines()[1:] == [
        "x" * 60 + "  1 k",
        "y" + " " * 61 + "2 k",
    ]

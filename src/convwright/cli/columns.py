"""Columns of a list of images: options of every command that takes data, which they are a part of."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from convwright.errors import ArgumentError
from convwright.options import Option, options_of


def column_options(described: Sequence[Option]) -> list[Option]:
    """Return the options for columns that a command lacks, whose function takes data with options.

    Args:
        described: The parameters of the command's function.
    """
    names = {each.name for each in described}
    if not any(each.name == "data" and each.foreign for each in described):
        return []
    from convwright.api.data import survey
    from convwright.data.opened import COLUMNS

    return [each for each in options_of(survey) if each.name in COLUMNS and each.name not in names]


def with_columns(given: dict[str, Any], options: Sequence[Option]) -> dict[str, Any]:
    """Return the values of a command with the columns as a part of the data.

    Raises:
        ArgumentError: A column is given and no data.
    """
    columns = {each.name: given[each.name] for each in options if each.name in given}
    if not columns:
        return given
    if "data" not in given:
        raise ArgumentError(next(iter(columns)), "is about `data`, which is not given")
    from convwright.data.opened import Data

    others = {name: value for name, value in given.items() if name not in columns}
    return others | {"data": replace(Data.of(given["data"]), **columns)}

"""JSON as every file and command writes and reads it: numbers are finite, and damage is one clear error."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from convwright.errors import ConvwrightError, UsageError
from convwright.files import as_utf8


def dump(value: object, *, indent: int | None = None, ascii_only: bool = False, sort_keys: bool = False) -> str:
    """Return a value as JSON text.

    Args:
        value: Dictionaries, lists, tuples, strings, numbers, booleans and None.
        indent: Spaces of each level; None writes one line.
        ascii_only: Escape every character outside ASCII.
        sort_keys: Sort the members of objects by name.

    Raises:
        ConvwrightError: A number in it is NaN or infinite, which JSON cannot hold.
    """
    if found := _not_finite(value):
        raise ConvwrightError(f"{found}, which JSON cannot hold; a computation diverged or overflowed")
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False, sort_keys=sort_keys)


def parse(
    text: str | bytes, source: object, error: type[ConvwrightError] = UsageError, *, not_finite_as_null: bool = False
) -> Any:
    """Return the value that a JSON text holds.

    Args:
        text: The text; bytes are UTF-8, with or without a byte-order mark.
        source: What the text is called in error messages, usually its file.
        error: Class of the error to raise.
        not_finite_as_null: Read NaN and Infinity as None instead of refusing them.

    Raises:
        ConvwrightError: The text is not JSON, is nested too deeply, or has a number that is not finite.
    """
    try:
        decoded = as_utf8(text).decode("utf-8") if isinstance(text, bytes) else text
        constant = _as_null if not_finite_as_null else _refuse_constant
        return json.loads(
            decoded, parse_constant=constant, parse_float=_finite_float, object_pairs_hook=_without_duplicates
        )
    except RecursionError:
        raise error(f"{source}: not readable JSON: nested too deeply") from None
    except ValueError as problem:  # also of text that is not UTF-8, and of numbers with thousands of digits
        raise error(f"{source}: not readable JSON: {problem}") from None


def read(path: Path, error: type[ConvwrightError] = UsageError) -> Any:
    """Return the value that a JSON file holds; `error` names the file and what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from None
    return parse(content, path, error)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _without_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        raise ValueError(f"the member {next(name for name in names if names.count(name) > 1)!r:.60} occurs twice")
    return found


def _as_null(_: str) -> None:
    return None


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is not a finite number")
    return value


def _not_finite(value: object, place: str = "") -> str:
    """Return the place of the first NaN or infinity in a value, or an empty string."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{place or 'value'} is {value}"
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        if found := _not_finite(item, f"{place}.{key}" if place else str(key)):
            return found
    return ""

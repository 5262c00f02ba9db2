"""What pydantic finds wrong with a value, in our words."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from convwright.arch.node import brief
from convwright.printable import number_text

NUMBER, WHOLE, FIELDS, LIST, BOOLEAN = "a number", "a whole number", "'field: value' pairs", "a list", "true or false"
EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), WHOLE),
        **dict.fromkeys(("float_type", "float_parsing"), NUMBER),
        **dict.fromkeys(("bool_type", "bool_parsing"), BOOLEAN),
        **dict.fromkeys(("tuple_type", "list_type", "iterable_type"), LIST),
        **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), FIELDS),
        **dict.fromkeys(("dataclass_type", "mapping_type"), FIELDS),
        "int_parsing_size": "a whole number of fewer digits",
        "finite_number": "a finite number",
        "greater_than": "above {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "below {lt}",
        "less_than_equal": "{le} or less",
        "string_type": "text",
        "string_sub_type": "text",
        "string_unicode": "text in UTF-8",
        "string_too_short": "text that is not empty",
        "path_type": "a path",
        "too_short": "a list that is not empty",
        "literal_error": "{expected}",
        "is_instance_of": "a {class}",
    }
)
"""What a value must be, by pydantic's type of error, with the members of the error's context."""
REASON = "reason"
"""Type of our own errors of a field, whose message is the whole reason."""
OF_ONE_FIELD = frozenset({REASON, "missing", "extra_forbidden", "unexpected_keyword_argument", "invalid_key"})
"""Types of problems that are not of one of several types that a field may have."""
NEWER = "of a newer version of Convwright; this version reads {}"


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the field of the first problem of a validation, and what is wrong and would be right.

    Args:
        error: What pydantic raised.

    Returns:
        The field as `seed` or `recipe.learning_rate`, empty for the whole value; and the reason.
    """
    return next(iter(all_problems(error).items()))


def all_problems(error: ValidationError) -> dict[str, str]:
    """Return the reason of each field's first problem, as `first_problem` does.

    Args:
        error: What pydantic raised.
    """
    left = error.errors(include_url=False)
    found: dict[str, str] = {}
    while left:
        first = left[0]
        # A value that fits none of the types that are allowed has a problem for each.
        same = [each for each in left if each is first or _concern_one_value(each, first)]
        field, reason = _problem(first, same)
        found.setdefault(field, reason)
        left = [each for each in left if each not in same]
    return found


def _concern_one_value(one: Any, other: Any) -> bool:
    """Return whether two problems are of types that one field may have, such as text or a number."""
    if len(one["loc"]) < 2 or OF_ONE_FIELD & {one["type"], other["type"]}:
        return False
    return one["loc"][:-1] == other["loc"][:-1] and bool(brief(one["input"]) == brief(other["input"]))


def _problem(first: Any, same: Sequence[Any]) -> tuple[str, str]:
    """Return the field of a problem, and what is wrong and would be right."""
    place = [str(part) for part in first["loc"] if "[" not in str(part)]
    field = ".".join(place[:-1] if len(same) > 1 else place)
    if first["type"] == "missing":
        return ".".join(place), "missing"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument", "invalid_key"):
        return ".".join(place), "no such field"
    if first["type"] in ("value_error", "assertion_error"):  # of our own checks
        return field, str(first.get("ctx", {}).get("error", "")) or "cannot be used"
    if first["type"] == REASON:
        return field, first["msg"]
    given, expected = first["input"], list(dict.fromkeys(map(_expected, same)))
    if place[-1:] == ["schema_version"] and isinstance(given, int) and first["type"] == "literal_error":
        return field, f"{given} is {NEWER.format(expected[0])}"
    return field, f"must be {' or '.join(expected)}, not {' '.join(brief(given).split()):.80}"


def _expected(problem: Any) -> str:
    """Return what a value must be where pydantic found one problem."""
    words = EXPECTED.get(problem["type"], "another value")
    context = problem.get("ctx", {})
    return words.format(**{key: number_text(each) if _is_number(each) else each for key, each in context.items()})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""What pydantic finds wrong with a value, in our words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from convwright.arch.node import brief

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
        "greater_than": "above {gt:g}",
        "greater_than_equal": "{ge:g} or more",
        "less_than": "below {lt:g}",
        "less_than_equal": "{le:g} or less",
        "string_type": "text",
        "string_sub_type": "text",
        "string_unicode": "text in UTF-8",
        "string_too_short": "text that is not empty",
        "path_type": "a path",
        "too_short": "a list that is not empty",
        "literal_error": "{expected}",
        "is_instance_of": "a {class}",
        "other_kind": "{expected}",
    }
)
"""What a value must be, by pydantic's type of error, with the members of the error's context. `other_kind` is ours."""
NEWER = "of a newer version of Convwright; this version reads {}"


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the field of the first problem of a validation, and what is wrong and would be right.

    Args:
        error: What pydantic raised.

    Returns:
        The field as `seed` or `recipe.learning_rate`, empty for the whole value; and the reason.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    place = [str(part) for part in first["loc"] if "[" not in str(part)]
    # A value that fits none of the types that are allowed has a problem for each.
    same = [
        each
        for each in problems
        if each["loc"][:-1] == first["loc"][:-1] and brief(each["input"]) == brief(first["input"])
    ]
    field = ".".join(place[:-1] if len(same) > 1 else place)
    if first["type"] == "missing":
        return ".".join(place), "missing"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument", "invalid_key"):
        return ".".join(place), "no such field"
    if first["type"] in ("value_error", "assertion_error"):  # of our own checks
        return field, str(first.get("ctx", {}).get("error", "")) or "cannot be used"
    if first["type"] == "resolution":
        return field, first["msg"]
    given, expected = first["input"], list(dict.fromkeys(map(_expected, same)))
    if place[-1:] == ["schema_version"] and isinstance(given, int) and first["type"] == "literal_error":
        return field, f"{given} is {NEWER.format(expected[0])}"
    return field, f"must be {' or '.join(expected)}, not {' '.join(brief(given).split()):.80}"


def _expected(problem: Any) -> str:
    """Return what a value must be where pydantic found one problem."""
    words = EXPECTED.get(problem["type"], "another value")
    return words.format(**problem.get("ctx", {}))

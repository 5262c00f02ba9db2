"""Errors about fields of a configuration: which field, what is wrong with it, and what would be right."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from convwright.errors import ArgumentError, UsageError, each_error, together
from convwright.printable import printable
from convwright.training.problems import all_problems

Model = TypeVar("Model", bound=BaseModel)


class FieldError(ArgumentError):
    """A value that a field of a configuration cannot have.

    Args:
        field: The field, as `seed` or `recipe.learning_rate`.
        reason: What is wrong, and what would be right.
        source: File that holds the value; empty for an argument.
    """

    def __init__(self, field: str, reason: str, source: str = "") -> None:
        field = printable(field)  # of a file or a caller, who may name it as they like
        super().__init__(field.removeprefix("recipe.").partition(".")[0], reason)
        if source:
            self.args = (f"{source}: {field}: {reason}",)
        self.field, self.source = field, source


def validated(model: type[Model], values: Mapping[str, Any], source: str = "") -> Model:
    """Validate values into a model.

    Args:
        model: The model.
        values: Values by field.
        source: File that they come from, for messages; empty for arguments.

    Raises:
        FieldError: A field has a wrong value; `SeveralErrors` for several.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise field_error(error, source, model.model_fields) from None


def _nearest(name: str, fields: Iterable[str]) -> str:
    """Return a hint at the field with the most similar name, if there is one."""
    near = difflib.get_close_matches(name, list(fields), n=1)
    return f"; the nearest is {near[0]}" if near else ""


def in_file(error: UsageError, source: str) -> UsageError:
    """Return an error about fields, with the name of the file that has their values."""
    named = (
        FieldError(each.field, each.reason, source) if isinstance(each, FieldError) else each
        for each in each_error(error)
    )
    return together(list(named))


def field_error(error: ValidationError, source: str = "", fields: Iterable[str] = ()) -> UsageError:
    """Return the problems of a validation as an error of ours.

    Args:
        error: What pydantic raised.
        source: File that the values come from; empty for arguments.
        fields: Names of all fields, for the hint at a misspelt one.
    """
    found = []
    for field, reason in all_problems(error).items():
        hint = _nearest(field.rpartition(".")[2], fields) if reason == "no such field" else ""
        found.append(FieldError(field or "the configuration", reason + hint, source))
    return together(found)

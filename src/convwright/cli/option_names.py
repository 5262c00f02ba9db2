"""Errors about values name the option that the value came from."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, get_args

from typer.models import OptionInfo

from convwright.errors import ConvwrightError, UsageError


@cache
def option_names(command: Callable[..., None]) -> dict[str, str]:
    """Return the option of each parameter of a command, as help lists it first: `learning_rate: --learning-rate`."""
    names = {}
    for name, parameter in inspect.signature(command).parameters.items():
        candidates: tuple[Any, ...] = (parameter.default, *get_args(parameter.annotation)[1:])
        for option in (candidate for candidate in candidates if isinstance(candidate, OptionInfo)):
            declared = [text for text in (option.default, *(option.param_decls or ())) if isinstance(text, str)]
            flags = [text for text in declared if text.startswith("--")]
            names[name] = flags[0].partition("/")[0] if flags else f"--{name.replace('_', '-')}"
    return names


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Name an option in front of errors about its value."""
    try:
        yield
    except ConvwrightError as error:
        kind = type(error) if type(error).__init__ is ConvwrightError.__init__ else UsageError
        raise kind(f"{option}: {error}") from None


@contextmanager
def naming_fields(option_of: Callable[[str], str]) -> Iterator[None]:
    """Name an option in errors about fields of a training configuration.

    Args:
        option_of: Function from a field, as `seed` or `recipe.learning_rate`, to its option.
    """
    from convwright.training.config import FieldError

    try:
        yield
    except FieldError as error:
        raise UsageError(f"{option_of(error.field)}: {error.reason}") from None

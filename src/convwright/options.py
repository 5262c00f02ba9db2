"""Options: the parameters of a function or a request, described once.

A parameter's name, type, bounds and description are written where the function or the field is defined. The command
line, the checks of values in Python and the API reference are made from that one description.
"""

import difflib
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterable
from functools import reduce, wraps
from operator import or_
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin

from convwright.bounds import Bounds
from convwright.errors import ArgumentError, UnknownArgumentError, together
from convwright.extras import missing_package
from convwright.option import REQUIRED, Described, Flags, Form, Group, Option
from convwright.option_reading import described_arguments, option_of, options_of, options_of_model, summary_of

__all__ = [
    "REQUIRED",
    "Bounds",
    "Described",
    "Flags",
    "Form",
    "Group",
    "Option",
    "checks_arguments",
    "described_arguments",
    "option_of",
    "options_of",
    "options_of_model",
    "summary_of",
]

P = ParamSpec("P")
R = TypeVar("R")


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Check a function's arguments against its annotations before it is called.

    NumPy's numbers are accepted for int and float, and converted.

    Raises:
        UnknownArgumentError: From the function that is returned, for an argument that it does not have.
        ArgumentError: Likewise, for a value that its parameter cannot have; `SeveralErrors` for several.
        UsageError: Likewise, for an optional package that is not installed; the message has the command to install it.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            bound = signature.bind(*arguments, **named)
        except TypeError:
            _check_names(named, signature, function.__name__)
            return function(*arguments, **named)  # Python's own message, which names the function
        wrong = []
        for option in options_of(function):
            if option.name in bound.arguments:
                try:
                    value = bound.arguments[option.name] = option.plain(bound.arguments[option.name])
                    option.check(value)
                except ArgumentError as error:
                    wrong.append(error)
        if wrong:
            raise together(wrong)
        try:
            return function(*bound.args, **bound.kwargs)
        except ModuleNotFoundError as error:
            if (missing := missing_package(error)) is None:
                raise
            raise missing from None

    call.__doc__ = _with_shared_descriptions(function, signature)
    call.__signature__ = _readable(signature)  # type: ignore[attr-defined] # what `help` shows
    return call


def _with_shared_descriptions(function: Callable[..., object], signature: inspect.Signature) -> str | None:
    """Return a function's docstring with the descriptions of `Described` at the end of its section `Args:`."""
    text = function.__doc__
    shared = {
        name: each.text
        for name, parameter in signature.parameters.items()
        for each in getattr(parameter.annotation, "__metadata__", ())
        if isinstance(each, Described)
    }
    if not text or not shared:
        return text
    text = inspect.cleandoc(text)
    entries = [
        textwrap.fill(f"{name}: {said}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name, said in shared.items()
    ]
    return re.sub(
        r"(?<=^Args:\n)((?:[ \t]+.*\n)+)", lambda found: found[1] + "\n".join(entries) + "\n", text, flags=re.M
    )


def _check_names(named: Iterable[str], signature: inspect.Signature, function: str) -> None:
    """Check that a function has the arguments that are given by name.

    Raises:
        UnknownArgumentError: It does not have one of them; the message names the closest one that it has.
    """
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = signature.parameters.values()
    known = [each.name for each in parameters if each.kind in by_name and each.name != "self" and each.name[0] != "_"]
    for name in named:
        if name not in signature.parameters:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UnknownArgumentError(name, f"{function} has no such argument; {hint}")


def _readable(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature without the metadata of `Annotated`."""
    parameters = [each.replace(annotation=_without_metadata(each.annotation)) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=_without_metadata(signature.return_annotation))


def _without_metadata(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return _without_metadata(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType) and any(get_origin(each) is Annotated for each in get_args(hint)):
        return reduce(or_, map(_without_metadata, get_args(hint)))
    return hint

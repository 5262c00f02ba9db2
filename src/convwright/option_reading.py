"""Options read from the signature of a function, or from the fields of a request."""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from convwright.bounds import Bounds
from convwright.option import PLAIN, REQUIRED, Described, Flags, Foreign, Form, Group, Option


@cache
def options_of(function: Callable[..., object]) -> tuple[Option, ...]:
    """Return the parameters of a function, with the descriptions of its docstring.

    Parameters that only Python callers use (`callbacks`, `progress` and those that start with an underscore) and
    collecting ones (`*values`, `**values`) are left out.
    """
    function = inspect.unwrap(function)
    descriptions = described_arguments(inspect.getdoc(function) or "")
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name.startswith("_"):
            continue
        hint = _evaluated(parameter.annotation, function)
        found.append(option_of(parameter.name, hint, parameter.default, descriptions.get(parameter.name, "")))
    return tuple(found)


def option_of(name: str, hint: object, default: object, description: str, metadata: Sequence[object] = ()) -> Option:
    """Return the option that a type annotation describes.

    Args:
        name: Name of the parameter or field.
        hint: Its type.
        default: Its default, or `REQUIRED`.
        description: What it means.
        metadata: Metadata beside that of the annotation, such as the bounds of a pydantic field.
    """
    every = list(metadata)
    if get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        every += _flattened(more)
    kinds: list[type] = []
    choices: list[str] = []
    many = nullable = foreign = False
    for part in _parts(hint):
        origin = get_origin(part)
        if get_origin(part) is Annotated:
            part, *more = get_args(part)
            every += _flattened(more)
            origin = get_origin(part)
        if part in (None, type(None)):
            nullable = True
        elif origin is Literal:
            choices += [str(value) for value in get_args(part)]
            foreign = foreign or not all(isinstance(value, str) for value in get_args(part))
        elif origin in (list, tuple, Sequence) or _is_sequence(origin):
            many = True
            inner = option_of(name, get_args(part)[0], REQUIRED, "")
            kinds += inner.kinds
            choices += inner.choices
            foreign = foreign or inner.foreign
            every += [inner.bounds] if inner.bounds else []
        elif part in PLAIN:
            kinds.append(part)
        else:
            foreign = True
    group = next((each.title for each in every if isinstance(each, Group)), "")
    flags = next((each.names for each in every if isinstance(each, Flags)), ())
    description = description or next((each.text for each in every if isinstance(each, Described)), "")
    kinds = list(dict.fromkeys(kinds))
    if form := next((each for each in every if isinstance(each, Form)), None):
        kinds, many, foreign = [str], False, False
    return Option(
        name,
        tuple(kinds),
        tuple(dict.fromkeys(choices)),
        many,
        nullable,
        foreign,
        _bounds(every),
        default,
        description,
        group,
        flags,
        form,
    )


def described_arguments(docstring: str) -> dict[str, str]:
    """Return the descriptions in the section `Args:` of a Google-style docstring, by parameter."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in (section[1] if section else "").splitlines():
        if entry := re.match(r" {4}\*{0,2}(\w+): (.*)", line):
            name = entry[1]
            found[name] = entry[2].strip()
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def summary_of(docstring: str) -> str:
    """Return a docstring without its sections (`Args:`, `Returns:`, ...) and examples."""
    sections = r"^(?:Args|Returns|Raises|Yields|Example|Examples|Attributes):\s*$"
    kept = re.split(sections, docstring, maxsplit=1, flags=re.MULTILINE)[0]
    return re.sub(r"(?:^[ \t]*>>>.*\n(?:.+\n?)*)", "", kept, flags=re.MULTILINE).strip()


def _flattened(metadata: Sequence[object]) -> list[object]:
    """Return metadata with the limits inside of pydantic's fields."""
    return [one for each in metadata for one in (each, *getattr(each, "metadata", ()))]


def _bounds(metadata: Sequence[object]) -> Bounds | None:
    limits: dict[str, float] = {}
    for each in metadata:
        for limit in ("ge", "gt", "le", "lt"):
            if isinstance(value := getattr(each, limit, None), int | float):
                limits[limit] = value
    return Bounds(**limits) if limits else None


def _parts(hint: object) -> tuple[object, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_sequence(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str


class _Names(dict[str, Any]):
    """Names for evaluating annotations; those that are only imported for type checkers are foreign types."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__(known)

    def __missing__(self, name: str) -> object:
        import builtins

        return getattr(builtins, name, Foreign)


def _evaluated(annotation: object, function: Callable[..., object]) -> object:
    if annotation is inspect.Parameter.empty:
        return Foreign
    if not isinstance(annotation, str):
        return annotation
    text = re.sub(r"\b\w+\.(?=\w)", "", annotation)  # `torch.Tensor`: the name is enough for a foreign type
    try:
        return eval(text, {}, _Names(getattr(function, "__globals__", {})))
    except TypeError:  # a foreign type with parameters
        return Foreign


def options_of_model(model: Any) -> tuple[Option, ...]:
    """Return the fields of a pydantic model as options; each is None where it is not given.

    Args:
        model: A model class, whose fields are described by the docstrings below them.
    """
    return tuple(
        option_of(name, field.annotation, None, " ".join((field.description or "").split()), field.metadata)
        for name, field in model.model_fields.items()
    )

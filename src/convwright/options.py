"""Options: the parameters of a function or a request, described once.

A parameter's name, type, bounds and description are written where the function or the field is defined. The command
line, the checks of values in Python and the API reference are made from that one description.
"""

import difflib
import inspect
import math
import re
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce, wraps
from numbers import Integral, Real
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from convwright.errors import ArgumentError, UnknownArgumentError
from convwright.extras import missing_package

P = ParamSpec("P")
R = TypeVar("R")
REQUIRED = inspect.Parameter.empty
_PLAIN = (bool, int, float, Path, str)


@dataclass(frozen=True)
class Bounds:
    """Limits of a number, as metadata of `typing.Annotated`."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        low = [f"{self.ge:g} or more"] if self.ge is not None else []
        low += [f"above {self.gt:g}"] if self.gt is not None else []
        high = [f"{self.le:g} or less"] if self.le is not None else []
        high += [f"below {self.lt:g}"] if self.lt is not None else []
        if self.ge is not None and self.le is not None:
            return f"{self.ge:g} to {self.le:g}"
        return " and ".join(low + high)


@dataclass(frozen=True)
class Group:
    """Heading under which help lists an option, as metadata of `typing.Annotated`."""

    title: str


@dataclass(frozen=True)
class Flags:
    """Names of an option on the command line, the usual one first, as metadata of `typing.Annotated`."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Described:
    """Description of a parameter that several functions have, as metadata of `typing.Annotated`."""

    text: str


@dataclass(frozen=True)
class Form:
    """Values of a form of their own, such as 160x320, as metadata of `typing.Annotated`."""

    metavar: str
    """What help shows for a value."""
    read: Callable[[object], Any]
    """Function that returns the value of a text or object; its ValueError says what would be right."""


class _Foreign:
    """Stands for types that only Python callers use, such as arrays."""


@dataclass(frozen=True)
class Option:
    """A parameter of a function or a field of a request."""

    name: str
    kinds: tuple[type, ...]
    """Types that a value may have, of bool, int, float, Path and str."""
    choices: tuple[str, ...] = ()
    """Texts that are allowed; empty where any text is."""
    many: bool = False
    """Whether it holds several values."""
    nullable: bool = False
    """Whether None is allowed, which means that the function chooses."""
    foreign: bool = False
    """Whether values of other types are allowed too."""
    bounds: Bounds | None = None
    default: object = REQUIRED
    description: str = ""
    group: str = ""
    flags: tuple[str, ...] = ()
    """Names on the command line; empty for the usual one."""
    form: Form | None = None
    """How values are read, where they have a form of their own."""

    @property
    def flag(self) -> str:
        """The name of the option on the command line."""
        return self.flags[0] if self.flags else f"--{self.name.replace('_', '-')}"

    def parse(self, text: str) -> object:
        """Return the value that a text on the command line means; where any text is allowed, the text itself.

        Raises:
            ArgumentError: The text is not of any type that the option takes.
        """
        if self.form is not None:
            return self._in_form(text)
        for kind in (int, float):
            if kind in self.kinds and str not in self.kinds:
                try:
                    return kind(text)
                except ValueError:
                    continue
        if Path in self.kinds and str not in self.kinds:
            return Path(text)
        if str in self.kinds or text in self.choices:
            return text
        raise ArgumentError(self.name, f"must be {self.expected}, not {text!r}")

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        words = [str(self.bounds)] if self.bounds else []
        if not words:
            words = ["a whole number"] if int in self.kinds else ["a number"] if float in self.kinds else []
        elif int in self.kinds and float not in self.kinds:
            words = [f"a whole number, {words[0]}"]
        return " or ".join([*words, *map(repr, self.choices)]) or "text"

    def check(self, value: object) -> None:
        """Check a value.

        Raises:
            ArgumentError: It has another type, is out of bounds or is not among the choices.
        """
        if value is None and (self.nullable or self.default is None):
            return
        if self.form is not None:
            self._in_form(value)
        elif self.many and not isinstance(value, str | bytes) and isinstance(value, Sequence):
            for one in value:
                self._check_one(one)
        else:
            self._check_one(value)

    def plain(self, value: object) -> object:
        """Return a value with int and float in the place of other numbers, such as NumPy's.

        A single text or number in the place of several becomes a list of one.
        """
        if self.form is not None:
            return None if value is None else self._in_form(value)
        if self.many and not self.foreign and isinstance(value, Real | str | Path):
            value = [value]
        if self.many and isinstance(value, list):
            return [self._plain_one(one) for one in value]
        if self.many and type(value) is tuple:
            return tuple(self._plain_one(one) for one in value)
        return self._plain_one(value)

    def _in_form(self, value: object) -> object:
        assert self.form is not None
        try:
            return self.form.read(value)
        except ValueError as error:
            raise ArgumentError(self.name, str(error)) from None

    def _plain_one(self, value: object) -> object:
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, Integral) and (int in self.kinds or float in self.kinds):
            return int(value)
        return float(value) if isinstance(value, Real) and float in self.kinds else value

    def _check_one(self, value: object) -> None:
        if isinstance(value, bool):
            fits = bool in self.kinds
        elif isinstance(value, int | float):
            fits = (float in self.kinds and _is_finite(value)) or (int in self.kinds and isinstance(value, int))
            fits = fits and (self.bounds is None or value in self.bounds)
        elif isinstance(value, str):
            fits = value in self.choices or str in self.kinds or (Path in self.kinds and not self.choices)
        else:
            fits = (Path in self.kinds or str in self.kinds) and isinstance(value, Path)
        if not fits and not (self.foreign and not isinstance(value, bool | int | float | str)):
            expected = "true or false" if self.kinds == (bool,) else self.expected
            raise ArgumentError(self.name, f"must be {expected}, not {_shown(value)}")


def _is_finite(value: float) -> bool:
    """Whether a number is finite as a float; a whole number may be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: object) -> str:
    """Return a value as a message shows it: in one line of at most 80 characters."""
    try:
        return f"{' '.join(repr(value).split()):.80}"
    except ValueError:  # Python refuses to write thousands of digits
        return "a number of thousands of digits"


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Check a function's arguments against its annotations before it is called.

    NumPy's numbers are accepted for int and float, and converted.

    Raises:
        UnknownArgumentError: From the function that is returned, for an argument that it does not have.
        ArgumentError: Likewise, for a value that its parameter cannot have.
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
        for option in options_of(function):
            if option.name in bound.arguments:
                value = bound.arguments[option.name] = option.plain(bound.arguments[option.name])
                option.check(value)
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
        every += more
    kinds: list[type] = []
    choices: list[str] = []
    many = nullable = foreign = False
    for part in _parts(hint):
        origin = get_origin(part)
        if get_origin(part) is Annotated:
            part, *more = get_args(part)
            every += more
            origin = get_origin(part)
        if part in (None, type(None)):
            nullable = True
        elif origin is Literal:
            choices += [str(value) for value in get_args(part)]
        elif origin in (list, tuple, Sequence) or _is_sequence(origin):
            many = True
            inner = option_of(name, get_args(part)[0], REQUIRED, "")
            kinds += inner.kinds
            choices += inner.choices
            foreign = foreign or inner.foreign
            every += [inner.bounds] if inner.bounds else []
        elif part in _PLAIN:
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

        return getattr(builtins, name, _Foreign)


def _evaluated(annotation: object, function: Callable[..., object]) -> object:
    if annotation is inspect.Parameter.empty:
        return _Foreign
    if not isinstance(annotation, str):
        return annotation
    text = re.sub(r"\b\w+\.(?=\w)", "", annotation)  # `torch.Tensor`: the name is enough for a foreign type
    try:
        return eval(text, {}, _Names(getattr(function, "__globals__", {})))
    except TypeError:  # a foreign type with parameters
        return _Foreign


def options_of_model(model: Any) -> tuple[Option, ...]:
    """Return the fields of a pydantic model as options; each is None where it is not given.

    Args:
        model: A model class, whose fields are described by the docstrings below them.
    """
    return tuple(
        option_of(name, field.annotation, None, " ".join((field.description or "").split()), field.metadata)
        for name, field in model.model_fields.items()
    )

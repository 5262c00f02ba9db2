"""One option: its type, bounds and description, by which texts are parsed and values checked."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from convwright.bounds import Bounds
from convwright.errors import ArgumentError

REQUIRED = inspect.Parameter.empty
PLAIN = (bool, int, float, Path, str)


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


class Foreign:
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
        raise ArgumentError(self.name, f"must be {self._expected_of(text)}, not {text!r}")

    def _expected_of(self, value: object) -> str:
        """What a value must be, in words: a number, where it is of another type."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        only_float = float in self.kinds and not {str, Path} & {*self.kinds} and not self.choices
        return f"a number, {self.expected}" if self.bounds and only_float and not is_number else self.expected

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        words = [str(self.bounds)] if self.bounds else []
        if not words:
            words = ["a whole number"] if int in self.kinds else ["a number"] if float in self.kinds else []
        elif int in self.kinds and float not in self.kinds:
            words = [f"a whole number, {words[0]}"]
        return " or ".join([*words, *map(repr, self.choices)]) or ("a path" if self.kinds == (Path,) else "text")

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
        """Return a value with int and float instead of other numbers, such as NumPy's.

        A single text or number instead of several becomes a list of one.
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
            expected = "true or false" if self.kinds == (bool,) else self._expected_of(value)
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

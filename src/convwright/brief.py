"""Classes whose `repr` is one short line, whatever their fields hold."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from convwright.printable import printable

LONGEST = 100
"""Most characters of a `repr`."""
LONGEST_TEXT = 50
"""Most characters of a text in it."""


class Brief:
    """A class whose `repr` is one line of at most `LONGEST` characters, instead of a dataclass's own.

    Texts and numbers are shown as they are, and of tensors, arrays and lists only the size; of
    other objects the name. Fields without any are left out.
    """

    def __init_subclass__(cls, **options: object) -> None:
        """Give the class a `repr` of its own, which `dataclass` does not replace."""
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            brief = (
                vars(each)["__repr__"] for each in cls.__mro__ if issubclass(each, Brief) and "__repr__" in vars(each)
            )
            setattr(cls, "__repr__", next(brief))  # noqa: B010 - a method cannot be assigned

    def repr_fields(self) -> Mapping[str, object]:
        """Return what `repr` shows, by name: the fields of a dataclass."""
        if not is_dataclass(self):
            return {}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.repr}

    def __repr__(self) -> str:
        return brief_repr(type(self).__name__, self.repr_fields())


def brief_repr(name: str, values: Mapping[str, object]) -> str:
    """Return a name with values as one line of at most `LONGEST` characters.

    Args:
        name: Name of a class.
        values: Its fields; those that do not fit are left out.
    """
    parts = [f"{key}={text}" for key, value in values.items() if (text := _text(value))]
    line, whole = f"{name}(", False
    for number, part in enumerate(parts):
        whole = number + 1 == len(parts)
        joined = f"{line}{', ' if number else ''}{part}"
        if len(joined) > LONGEST - (1 if whole else len(", ...)")):
            return f"{line}{', ' if number else ''}...)"
        line = joined
    return f"{line})"


def _text(value: object) -> str:
    """Return a value as text; an empty text for one that is left out."""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | Path):
        text = printable(value)
        if len(text) <= LONGEST_TEXT:
            return f"'{text}'"
        room = LONGEST_TEXT - len("...")  # of a path, the end is what differs
        return f"'...{text[-room:]}'" if Path(text).parent.name else f"'{text[:room]}...'"
    if isinstance(shape := getattr(value, "shape", None), tuple):
        return f"<{' x '.join(map(str, shape))}>"
    if isinstance(value, tuple | list | dict):
        return f"<{len(value)}>"
    name = getattr(value, "name", None) or getattr(value, "title", None)
    return _text(name) if isinstance(name, str) else ""

"""What layers, blocks and networks share: a short repr, and an exact round trip through JSON.

Every part of a network is a frozen dataclass that derives from `Node`. Its JSON form is an object whose member "type"
is the qualified name of the class (`convwright.zoo.resnet.Bottleneck`) and whose other members are the fields that
differ from their defaults. Classes of other packages are found by their qualified names too, so that a class of a user
never replaces one of Convwright's with the same bare name.

In JSON of schema 1, every type has a bare name (`Bottleneck`), which means a class of Convwright, or the only other
class of that bare name.
"""

import difflib
import math
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from operator import index
from types import UnionType
from typing import Any, ClassVar, Literal, Self, SupportsIndex, Union, get_args, get_origin, get_type_hints

from convwright.errors import NetworkError, warn

LARGEST_NUMBER = 10_000_000
"""Largest number of channels, classes, pixels, layers or anything else that a field of a network can hold."""
DEEPEST = 100
"""Levels of objects and lists in a network's JSON; networks of the zoo have five."""
_CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of control, formatting and line-breaking characters, and of halves of surrogate pairs."""
_OWN_PACKAGE = "convwright."
_NOTEBOOK = "__main__"
"""The module of classes that are defined in a notebook, a script or an interactive session."""
_TYPES: dict[str, type["Node"]] = {}
"""Classes by qualified name."""
_OWN_TYPES: dict[str, type["Node"]] = {}
"""Convwright's classes by the bare names that JSON of schema 1 uses."""
_FILES: dict[str, str | None] = {}
"""The file in which each class of `_TYPES` is defined."""
_LOADERS: list[Callable[[], None]] = []


class Node:
    """A frozen dataclass that shows and stores only the fields that differ from their defaults.

    Each subclass is registered for JSON under its qualified name. If a class is defined again under the same name, as
    when a notebook's cell is run twice, the newest definition counts; nodes of an earlier definition work as before,
    but have to be made again before they are written as JSON. Two files cannot define classes of the same name.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _register(cls)

    def __init__(self, *values: object, **fields: object) -> None:
        # A dataclass has an `__init__` of its own.
        name = type(self).__name__
        raise NetworkError(f"{name} is not a frozen dataclass; write @dataclass(frozen=True) above class {name}")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.changed_fields())
        return f"{type(self).__name__}({shown})"

    def changed_fields(self) -> list[tuple[str, Any]]:
        """Return the names and values of the fields that differ from their defaults, in order."""
        different = []
        for field in fields(self):
            value = getattr(self, field.name)
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            if default is MISSING or value != default or type(value) is not type(default):
                different.append((field.name, value))
        return different

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `decode` makes an equal node.

        Raises:
            NetworkError: The class of this node, or of one in it, has been defined again since.
        """
        return {"type": _type_name(type(self))} | {name: encode(value) for name, value in self.changed_fields()}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Rebuild a node of this class from the object that `to_json` returned.

        Raises:
            NetworkError: The object describes no node, or a node of another class.
        """
        node = decode(data)
        if not isinstance(node, cls):
            raise NetworkError(f"expected a {cls.__name__} in the JSON, found {type(node).__name__}")
        return node


def load_types_with(load: Callable[[], None]) -> None:
    """Add a function that may define further types. It is called before an unknown type in JSON is refused."""
    _LOADERS.append(load)


def _register(cls: type[Node]) -> None:
    name = f"{cls.__module__}.{cls.__qualname__}"
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if name in _TYPES and cls.__module__ != _NOTEBOOK and _FILES[name] != file:
        raise NetworkError(f"{_FILES[name]} and {file} both define {name}; rename one of the modules")
    if name.startswith(_OWN_PACKAGE):
        known = _OWN_TYPES.setdefault(cls.__name__, cls)
        if known.__module__ != cls.__module__:
            raise NetworkError(f"{known.__module__} and {cls.__module__} both define {cls.__name__}; rename one")
        _OWN_TYPES[cls.__name__] = cls
    _TYPES[name], _FILES[name] = cls, file


def _type_name(cls: type[Node]) -> str:
    """Return the name of a class in JSON."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    if _TYPES[name] is not cls:
        raise NetworkError(f"{name} has been defined again; make the network again from the new definition")
    return name


def _type_named(name: object) -> type[Node]:
    """Return the class that a name in JSON means."""
    if isinstance(name, str):
        for load in (None, *_LOADERS):
            if load is not None:
                load()
            found = _TYPES.get(name) if "." in name else _OWN_TYPES.get(name)
            if found is not None and is_dataclass(found):
                return found
        if (found := _only_foreign(name)) is not None:
            return found
    raise NetworkError(f"the JSON names an unknown type {brief(name)}{_hint(name)}")


def _only_foreign(name: str) -> type[Node] | None:
    """Return the only class of another package or script with a bare name of schema 1; None if there are several."""
    found = [(full, cls) for full, cls in _TYPES.items() if cls.__name__ == name and is_dataclass(cls)]
    if len(found) != 1 or found[0][0].startswith(_OWN_PACKAGE):
        return None
    full, cls = found[0]
    message = f"the JSON of an earlier version names the type {name}; {full}, the only class of that name, is used"
    warn(message)
    return cls


def foreign_types(data: object) -> list[str]:
    """Return the names of the types in a node's JSON that are not Convwright's, each once."""
    if isinstance(data, list):
        return list(dict.fromkeys(name for item in data for name in foreign_types(item)))
    if not isinstance(data, dict):
        return []
    name = data.get("type")
    own = not isinstance(name, str) or name.startswith(_OWN_PACKAGE) or name in _OWN_TYPES
    inner = (each for value in data.values() for each in foreign_types(value))
    return list(dict.fromkeys([*([] if own else [str(name)]), *inner]))


def _hint(name: object) -> str:
    """Return what makes an unknown type known."""
    if not isinstance(name, str):
        return ""
    module, _, _ = name.rpartition(".")
    if name.startswith(f"{_NOTEBOOK}."):
        return ", which a script or notebook defined; define it here first, or move it into a module"
    if module and not name.startswith(_OWN_PACKAGE):
        return f"; import {brief(module)[1:-1]} before the network is read"
    known = [each for each, cls in (_TYPES if module else _OWN_TYPES).items() if is_dataclass(cls)]
    near = difflib.get_close_matches(name, known, n=3)
    return f"; the nearest are {', '.join(near)}" if near else ""


def encode(value: Any) -> Any:
    """Turn nodes and tuples inside a field's value into JSON's objects and arrays."""
    if isinstance(value, Node):
        return value.to_json()
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(value: Any, depth: int = 0) -> Any:
    """Rebuild the nodes and tuples that `encode` turned into objects and arrays.

    Args:
        value: Objects, arrays and scalars, as `json.loads` returns them.
        depth: Levels of JSON around `value`.

    Raises:
        NetworkError: A type or field is unknown, a value is not of its field's type, or the nesting is too deep.
    """
    if depth > DEEPEST:
        raise NetworkError(f"the JSON is nested more than {DEEPEST} levels deep")
    if isinstance(value, list):
        return tuple([decode(item, depth + 1) for item in value])
    if not isinstance(value, dict):
        return value
    return _construct(
        _type_named(value.get("type")),
        {name: decode(item, depth + 1) for name, item in value.items() if name != "type"},
    )


def check_values(value: object, place: str) -> None:
    """Check every number and text in a node: numbers are finite and not absurd, texts have no control characters.

    Control characters in a name would change the terminal that shows it; larger numbers than `LARGEST_NUMBER` are
    mistakes, and their products would not fit into floats and tensors.

    Args:
        value: A node, a tuple, or the value of a field.
        place: What the value is called in the error message.

    Raises:
        NetworkError: A number is not finite or out of range, or a text has control characters.
    """
    if _is_sound(value):
        return
    if isinstance(value, Node):
        for name in value.__dataclass_fields__:
            check_values(getattr(value, name), f"{type(value).__name__}'s field {name!r}")
    elif isinstance(value, tuple):
        for item in value:
            check_values(item, place)
    elif isinstance(value, str):
        raise NetworkError(f"{place} has control characters: {brief(value)}")
    else:
        limit = f"{LARGEST_NUMBER:,}"
        raise NetworkError(f"{place} must be a finite number from -{limit} to {limit}, not {brief(value)}")


def _is_sound(value: object) -> bool:
    """Whether `check_values` accepts a value. Every operator calls this, so it must be fast."""
    if isinstance(value, int | float):
        return -LARGEST_NUMBER <= value <= LARGEST_NUMBER  # NaN is not
    if isinstance(value, str):
        return value.isprintable() or not any(unicodedata.category(character) in _CONTROL for character in value)
    if isinstance(value, Node):
        return all(map(_is_sound, map(value.__getattribute__, value.__dataclass_fields__)))
    return not isinstance(value, tuple) or all(map(_is_sound, value))


def check_size(name: str, value: object, *, least: int = 1) -> None:
    """Check a number of pixels, channels, classes or the like.

    Args:
        name: What the number is called in error messages.
        value: The number.
        least: Smallest number that is right.

    Raises:
        NetworkError: It is not a whole number from `least` to `LARGEST_NUMBER`.
    """
    if type(value) is int and least <= value <= LARGEST_NUMBER:
        return
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise NetworkError(f"{name} must be a whole number, not {brief(value)}")
    if index(value) < least:
        raise NetworkError(f"{name} must be {least} or more, not {brief(value)}")
    if index(value) > LARGEST_NUMBER:
        raise NetworkError(f"{name} must be at most {LARGEST_NUMBER:,}, not {brief(value)}")


def brief(value: object) -> str:
    """Return a value's representation in at most 100 characters, whatever its size."""
    if isinstance(value, int) and value.bit_length() > 300:  # Python refuses to write thousands of digits
        return f"a number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    try:
        text = repr(value)
    except ValueError:  # such a number inside it
        return f"{type(value).__name__} with a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:97]}..."


def _construct(cls: type[Node], values: dict[str, Any]) -> Node:
    known = {field.name for field in fields(cls)}
    if unknown := sorted(values.keys() - known):
        raise NetworkError(f"{cls.__name__} has no field {brief(unknown[0])}; it has {', '.join(sorted(known))}")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if lacking := sorted(required - values.keys()):
        raise NetworkError(f"{cls.__name__} lacks its field {lacking[0]!r}")
    hints = get_type_hints(cls)
    for name, value in values.items():
        if not fits(value, hints[name]):
            raise NetworkError(f"{cls.__name__}'s field {name!r} in the JSON cannot be {brief(value)}")
        if not isinstance(value, Node):  # its own values have been checked where it was made
            check_values(value, f"{cls.__name__}'s field {name!r}")
    node = cls.__new__(cls)
    for field in fields(cls):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        object.__setattr__(node, field.name, values.get(field.name, default))
    validate = getattr(node, "__post_init__", None)
    if validate is not None:
        validate()
    return node


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of the type that a field is annotated with; only the kinds of type that nodes' fields have."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, one) for one in arguments)
    if get_origin(hint) is Literal:
        return type(value) is str and value in arguments
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if hint in (int, float):
        return type(value) is int or type(value) is hint
    return isinstance(value, hint)

"""What layers, blocks and networks share: a terse repr, and an exact round trip through JSON.

Every part of a network is a frozen dataclass that derives from `Node`. Its JSON form is an object whose
"type" is the class's name and whose other members are the fields that differ from their defaults.
"""

from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from convwright.errors import NetworkError

_TYPES: dict[str, type["Node"]] = {}


class Node:
    """A frozen dataclass that shows and stores only what differs from its defaults."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _TYPES[cls.__name__] = cls

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.told())
        return f"{type(self).__name__}({shown})"

    def told(self) -> list[tuple[str, Any]]:
        """Return the fields that differ from their defaults, in order."""
        different = []
        for field in fields(self):
            value = getattr(self, field.name)
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            if default is MISSING or value != default or type(value) is not type(default):
                different.append((field.name, value))
        return different

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `decode` makes an equal node."""
        return {"type": type(self).__name__} | {name: encode(value) for name, value in self.told()}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Rebuild a node of this class from `to_json`'s object; NetworkError if it is not one."""
        node = decode(data)
        if not isinstance(node, cls):
            raise NetworkError(f"expected a {cls.__name__} in the JSON, found {type(node).__name__}")
        return node


def encode(value: Any) -> Any:
    """Turn nodes and tuples inside a field's value into JSON's objects and arrays."""
    if isinstance(value, Node):
        return value.to_json()
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(value: Any) -> Any:
    """Undo `encode`. Raises NetworkError that names the type or field that is not known, or the wrong value."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    cls = _TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None or not is_dataclass(cls):
        known = ", ".join(name for name, cls in sorted(_TYPES.items()) if is_dataclass(cls))
        raise NetworkError(f"the JSON names an unknown type {kind!r:.100}; known are {known}")
    return _construct(cls, {name: decode(item) for name, item in value.items() if name != "type"})


def _construct(cls: type[Node], values: dict[str, Any]) -> Node:
    known = {field.name for field in fields(cls)}
    if unknown := sorted(values.keys() - known):
        raise NetworkError(f"{cls.__name__} has no field {unknown[0]!r}; it has {', '.join(sorted(known))}")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if lacking := sorted(required - values.keys()):
        raise NetworkError(f"{cls.__name__} lacks its field {lacking[0]!r}")
    hints = get_type_hints(cls)
    for name, value in values.items():
        if not fits(value, hints[name]):
            raise NetworkError(f"{cls.__name__}'s field {name!r} in the JSON cannot be {value!r:.100}")
    node = cls.__new__(cls)
    for field in fields(cls):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        object.__setattr__(node, field.name, values.get(field.name, default))
    validate = getattr(node, "__post_init__", None)
    if validate is not None:
        validate()
    return node


def fits(value: object, hint: Any) -> bool:
    """Is a value of the type that a field is annotated with? Only the kinds of type that nodes' fields have."""
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

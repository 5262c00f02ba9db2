"""Checks of blocks, which users write too: errors name the class and the method before a network is used."""

import inspect
from functools import lru_cache

from convwright.arch.blocks import Block
from convwright.arch.layers import PRIMITIVES, Add, Concat, Gate, Layer, Seq
from convwright.arch.node import brief
from convwright.errors import ConvwrightError, NetworkError

_COMBINATORS = frozenset((Seq, Add, Concat, Gate))
_RIGHT = "it must return one layer of convwright.arch, such as Seq(Conv(32, 3), Norm(), Act())"


def check_block(block: object, place: str) -> None:
    """Check that a value is a block whose class is well-formed.

    Args:
        block: The value.
        place: What the block is called in error messages: `the stem`, `stage stage1`.

    Raises:
        NetworkError: The value is no block, its class is not a frozen dataclass, a field can change or is missing, or
            `widths` or `strides` do not name fields with whole numbers.
    """
    if isinstance(block, type) and issubclass(block, Block):
        raise NetworkError(f"{place} has the class {block.__name__} as its block; write {block.__name__}(...)")
    if not isinstance(block, Block):
        raise NetworkError(f"the block of {place} must be an instance of a subclass of Block, not {brief(block)}")
    _check_class(type(block))  # type: ignore[arg-type] # mypy takes the hash of instances for that of classes
    _check_hash(block)
    for names in ("widths", "strides"):
        _check_named_fields(block, names)


def layers_of(block: Block, channels: int) -> Layer:
    """Return a block's layer graph.

    Args:
        block: The block.
        channels: Channels of the block's input.

    Raises:
        NetworkError: The method `layers` fails or returns something other than layers that Convwright knows.
    """
    called = f"{type(block).__name__}.layers({channels})"
    try:
        graph = block.layers(channels)
    except ConvwrightError:
        raise
    except Exception as error:  # of a user's method
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise NetworkError(f"{called} failed: {reason:.200}") from error
    _check_layer(graph, called, "returns")
    return graph


def _check_layer(layer: object, called: str, verb: str) -> None:
    kind = type(layer)
    if kind in _COMBINATORS:
        for part in layer.parts:  # type: ignore[attr-defined]
            _check_layer(part, called, f"has in {kind.__name__}(...)")
    elif kind not in PRIMITIVES:
        raise NetworkError(f"{called} {verb} {_described(layer)}; {_right_for(layer)}")


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    if isinstance(value, Layer):
        return f"a layer of the class {name}, which has no interpreters"
    return "None" if value is None else f"a value of the type {name}"


def _right_for(value: object) -> str:
    if isinstance(value, type) and issubclass(value, Layer):
        return f"write {value.__name__}(...)"
    if isinstance(value, list | tuple):
        return "give layers one by one, as in Seq(Conv(32, 3), Norm(), Act())"
    return _RIGHT


@lru_cache(maxsize=1024)
def _check_class(cls: type[Block]) -> None:
    """Check that a class is a frozen dataclass, and that each of its annotated fields is one of the dataclass."""
    right = f"write @dataclass(frozen=True) above class {cls.__name__}"
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise NetworkError(f"{cls.__name__} is not a frozen dataclass; {right}")
    for name, annotation in inspect.get_annotations(cls).items():
        if name not in cls.__dataclass_fields__ and "ClassVar" not in str(annotation):
            raise NetworkError(f"{cls.__name__} has the field {name!r}, but is not a dataclass itself; {right}")


def _check_hash(block: Block) -> None:
    for name in block.__dataclass_fields__:
        try:
            hash(getattr(block, name))
        except TypeError:
            value = brief(getattr(block, name))
            raise NetworkError(
                f"{type(block).__name__}'s field {name!r} can change, as it holds {value}; give a tuple or another "
                "value that cannot change"
            ) from None


def _check_named_fields(block: Block, names: str) -> None:
    """Check `widths` or `strides`: a tuple of names of fields that hold whole numbers."""
    title, given = f"{type(block).__name__}.{names}", getattr(block, names)
    fields = block.__dataclass_fields__
    if not isinstance(given, tuple | list) or not all(isinstance(name, str) for name in given):
        comma = f'; write ("{given}",) with a comma' if isinstance(given, str) and given in fields else ""
        raise NetworkError(f"{title} must be a tuple of names of fields, not {brief(given)}{comma}")
    for name in given:
        if name not in fields:
            known = ", ".join(fields) or "no fields"
            raise NetworkError(f"{title} names {name!r}, which is not a field of the class; it has {known}")
        value = getattr(block, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise NetworkError(
                f"{title} names {name!r}, which must hold a whole number that is not negative, not {brief(value)}"
            )

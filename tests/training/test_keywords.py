"""The keyword arguments of `cw.train` are the fields of a request, for type checkers too."""

import types
from pathlib import Path
from typing import Annotated, Literal, Union, Unpack, get_args, get_origin, get_type_hints

import pytest

import convwright as cw
from convwright.arch import Network
from convwright.data.opened import Data
from convwright.options import Form
from convwright.training import keywords

NAMES = {"Network": Network, "Data": Data, "Path": Path}


def parts(hint):
    """Return the types and texts that a hint allows; values that have a form may be texts too."""
    if get_origin(hint) is Annotated:
        kind, *metadata = get_args(hint)
        return parts(kind) | ({str} if any(isinstance(each, Form) for each in metadata) else set())
    if get_origin(hint) in (Union, types.UnionType):
        return {part for each in get_args(hint) for part in parts(each)}
    if get_origin(hint) is Literal:
        return {*get_args(hint)}
    return {(tuple, *parts(get_args(hint)[0]))} if get_origin(hint) is tuple else {hint}


def test_every_field_has_its_type():
    hints = get_type_hints(keywords.TrainOptions, localns=NAMES)
    assert hints.keys() == cw.TrainRequest.model_fields.keys()
    for name, field in cw.TrainRequest.model_fields.items():
        assert parts(hints[name]) == parts(field.annotation) | {type(None)}, name


@pytest.mark.parametrize("function", [cw.train, cw.prepare])
def test_functions_take_the_fields(function):
    hint = function.__annotations__["options"]
    assert eval(hint, {"Unpack": Unpack, "TrainOptions": keywords.TrainOptions}) == Unpack[keywords.TrainOptions]

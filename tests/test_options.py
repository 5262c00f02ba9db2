"""Arguments of public functions, checked against their annotations."""

import inspect
import pydoc
from collections.abc import Sequence
from typing import Annotated, get_type_hints

import numpy as np
import pytest

import convwright as cw
from convwright.errors import ArgumentError, SeveralErrors
from convwright.options import Bounds, checks_arguments, described_arguments, options_of
from convwright.scaling.network_family import Family


@checks_arguments
def given(
    count: Annotated[int, Bounds(ge=1)] = 1,
    share: float | None = None,
    many: Sequence[float] = (),
    *,
    flag: bool = False,
) -> object:
    """Return the arguments."""
    return count, share, many, flag


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_numbers_of_numpy_become_plain_numbers(kind: type[np.integer]) -> None:
    found = given(kind(2), np.float32(0.5), [kind(3), np.float32(0.25)])  # type: ignore[arg-type, list-item]
    assert repr(found) == "(2, 0.5, [3, 0.25], False)"


@pytest.mark.parametrize("count", [np.int64(0), np.float32(2), np.bool_(True), True, np.array([1])])
def test_other_values_are_refused(count: object) -> None:
    with pytest.raises(ArgumentError, match=r"^count: must be a whole number, 1 or more, not "):
        given(count)  # type: ignore[arg-type]


@checks_arguments
def listed(names: Sequence[str] | None = None, *, either: str | Sequence[str] = ()) -> object:
    """Return the arguments."""
    return names, either


def test_a_single_value_is_a_list_of_one() -> None:
    assert given(1, None, 0.5) == (1, None, [0.5], False)  # type: ignore[arg-type]
    assert listed("food", either="stage1") == (["food"], ["stage1"])
    assert listed(None) == (None, ())
    with pytest.raises(ArgumentError, match=r"^many: must be a number, not 'a'"):
        given(1, None, "a")  # type: ignore[arg-type]


def test_all_wrong_arguments_are_reported_together() -> None:
    with pytest.raises(SeveralErrors) as caught:
        given(0, "x", flag=1)  # type: ignore[arg-type]
    assert [each.argument for each in caught.value.errors if isinstance(each, ArgumentError)] == [
        "count",
        "share",
        "flag",
    ]
    assert caught.value.argument == "count"


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 1, 10**6, 0, 1e6, 123456789.0])
def test_limits_are_shown_exactly(value: float) -> None:
    for side in ("ge", "gt", "le", "lt"):
        digits = [word for word in str(Bounds(**{side: value})).split() if word.lstrip("-").isdecimal()]
        assert [int(word) for word in digits] == [value]


def test_a_wrong_call_is_reported_under_the_name_of_the_function() -> None:
    with pytest.raises(TypeError, match=r"listed\(\) takes from 0 to 1 positional arguments but 2 were given"):
        listed("food", "stage1")  # type: ignore[misc]


@pytest.mark.parametrize("error", [TypeError, ArgumentError])
def test_an_unknown_argument_is_named_with_the_closest_one(error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^budgets: plan has no such argument; did you mean budget\?$"):
        cw.plan("efficientnet_b0", budgets="macs<=1G")  # type: ignore[call-arg]
    with pytest.raises(error, match=r"^colour: family has no such argument; there are base, coefficients, phi,"):
        cw.family("efficientnet_b0", colour="red")  # type: ignore[call-arg]
    with pytest.raises(error, match=r"^epoch: train has no such argument; did you mean epochs\?$"):
        cw.family("cifar_resnet8", phi=1).train("digits", epoch=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["plan", "search", "family"])
def test_help_shows_types_without_metadata(name: str) -> None:
    function = getattr(cw, name)
    shown = str(inspect.signature(function))
    assert "Annotated" not in shown
    assert "Bounds" not in shown
    assert "Annotated" not in pydoc.render_doc(function)
    kept = [option for option in options_of(function) if option.bounds or option.flags]
    assert kept, "the command line still has the bounds"


def test_the_metadata_of_unions_is_not_shown_either() -> None:
    @checks_arguments
    def scale(size: Annotated[int, Bounds(ge=1)] | None = None, *, name: str = "x") -> Annotated[int, Bounds(ge=0)]:
        """Scale."""
        return size or 0

    assert str(inspect.signature(scale)) == "(size: int | None = None, *, name: str = 'x') -> int"
    hint = get_type_hints(scale, include_extras=True)["return"]
    assert hint == Annotated[int, Bounds(ge=0)]


def test_options_that_functions_share_are_described_once_and_shown_by_both() -> None:
    shared = ("recipe", "fields", "batch_size", "precision", "workers", "cluster", "cores_per_task", "storage", "study")
    for function in (cw.search, Family.train):
        described = described_arguments(inspect.getdoc(function) or "")
        own = described_arguments(inspect.getdoc(inspect.unwrap(function)) or "")
        for option in options_of(function):
            assert option.name == "self" or option.description == described[option.name]
            assert (option.name in shared) == (option.name != "self" and option.name not in own)

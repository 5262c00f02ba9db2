"""Arguments of public functions, checked against their annotations."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pytest

from convwright.errors import ArgumentError
from convwright.options import Bounds, checks_arguments


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


def test_a_wrong_call_is_reported_under_the_name_of_the_function() -> None:
    with pytest.raises(TypeError, match=r"listed\(\) takes from 0 to 1 positional arguments but 2 were given"):
        listed("food", "stage1")  # type: ignore[misc]

"""Values of wrong types from Python: one error that names the parameter."""

from collections.abc import Callable

import pytest

import convwright as cw
from convwright.errors import ArgumentError


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda: cw.evaluate([1]), "run"),  # type: ignore[arg-type]
        (lambda: cw.evaluate(None), "run"),  # type: ignore[arg-type]
        (lambda: cw.compare({}, "x"), "first"),  # type: ignore[arg-type]
        (lambda: cw.report({}), "runs"),  # type: ignore[arg-type]
        (lambda: cw.report([None]), "runs"),  # type: ignore[list-item]
        (lambda: cw.explain.cam(object()), "networks"),  # type: ignore[arg-type]
        (lambda: cw.explain.reuse([]), "run"),  # type: ignore[arg-type]
        (lambda: cw.explain.faithfulness(None, None), "maps"),  # type: ignore[arg-type]
        (lambda: cw.describe("resnet18", diagram="-"), "diagram"),
    ],
)
def test_the_error_names_the_parameter(call: Callable[[], object], parameter: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.argument == parameter
    assert "\n" not in str(caught.value)

"""Results whose command prints a list: `to_dict` holds that list, and nothing else."""

import json

import pytest

import convwright as cw
from convwright.display.result import Result
from convwright.prediction.outcomes import Prediction, UnreadableImage
from convwright.prediction.result import Predictions


@pytest.mark.parametrize(
    ("result", "key"),
    [
        (cw.models("cifar_*"), "networks"),
        (cw.reproduce("senet"), "claims"),
        (
            Predictions((Prediction(("cat",), (1.0,), "a.png"),), (UnreadableImage("b.png", "b.png: empty"),)),
            "predictions",
        ),
    ],
)
def test_the_dictionary_holds_what_the_command_prints(result: Result, key: str) -> None:
    assert result.to_dict() == {key: result.json_value()}
    assert json.loads(result.to_json()) == json.loads(json.dumps(result.json_value()))

"""Wrong values of fields are reported in our words, whatever pydantic calls them."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.json_text import dump
from convwright.training.config import Recipe, TrainConfig, checked
from convwright.training.records import DataFacts, Summary, parse_classes, parse_record, parse_summary

WRONG = [
    None,
    True,
    0,
    -1,
    3,
    1.5,
    -0.5,
    10**40,
    10**5000,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "3",
    b"\xff",
    [],
    [1],
    ["x"],
]
WRONG += [[-1.0], (), (2,), {}, {"a": 1}, {1: 2}, object(), Path("x"), cw.network("cifar_resnet8"), int]
CONFIG = {"data": "digits", "network": "cifar_resnet8", "resolution": 8}
FACTS = DataFacts("f", 1, 8, (0.5,), (0.5,), {"train": 1, "val": 1})
SUMMARY = {
    **{"network": "n", "data": "d", "params": 1, "macs": 1, "resolution": 8, "val_accuracy": 0.5, "val_images": 1},
    **{"train_seconds": 1.0, "versions": {}},
}


PYDANTIC = re.compile(
    r"input should|valid (?:integer|number|string|boolean|tuple|list|dictionary|instance|path)|unable to|"
    r"field required|extra inputs|value error|assertion failed|unexpected keyword|pydantic|type=|"
    r"should have at least|keys should"
)


def check(build, value):
    """Check the message of a value that is refused; values of many kinds are allowed."""
    try:
        build(value)
    except ConvwrightError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 400
        assert not PYDANTIC.search(message.lower()), message
        if isinstance(error.__context__, ValidationError):  # what pydantic itself says
            problems = error.__context__.errors(include_url=False)
            said = [each["msg"] for each in problems if each["type"] not in ("value_error", "reason")]
            assert not [each for each in said if each.lower() in message.lower()]
        assert "another value" not in message
        return True
    return False


def refused(build):
    """Return how many of the wrong values are refused, once their messages are checked."""
    return sum([check(build, value) for value in WRONG])


@pytest.mark.parametrize("field", cw.TrainRequest.model_fields)
def test_fields_of_a_request(field):
    assert refused(lambda value: cw.TrainRequest(**{"data": "digits"} | {field: value}))


@pytest.mark.parametrize("field", TrainConfig.model_fields)
def test_fields_of_a_configuration(field):
    assert refused(lambda value: checked(CONFIG | {field: value}))


@pytest.mark.parametrize("field", Recipe.model_fields)
def test_fields_of_a_recipe(field):
    assert refused(lambda value: checked(CONFIG | {"recipe": {field: value}}, "file"))


def as_json(value):
    try:
        return dump(value).encode()
    except ValueError:  # Python refuses to write thousands of digits
        return b"1" * 5000
    except (TypeError, ConvwrightError):
        return dump(repr(value)).encode()


@pytest.mark.parametrize("field", DataFacts.__dataclass_fields__)
def test_fields_of_the_data_of_a_run(field):
    stored = TypeAdapter(DataFacts).dump_python(FACTS)
    path = Path("data.json")
    assert refused(lambda value: parse_record(DataFacts, as_json(stored | {field: value}), path))


@pytest.mark.parametrize("field", Summary.model_fields)
def test_fields_of_a_summary(field):
    path = Path("summary.json")
    assert refused(lambda value: parse_summary(as_json(SUMMARY | {field: value}), path))


@pytest.mark.parametrize("place", ["all", "classes", "schema_version", "other", "in the list"])
def test_classes(place):
    def build(value):
        whole = {"all": value, "in the list": [value]}
        stored = whole.get(place, {"classes": ["a"], "schema_version": 2} | {place: value})
        return parse_classes(as_json(stored), Path("classes.json"))

    assert refused(build)


def test_whole_records_of_other_kinds():
    for value in WRONG:
        check(lambda value: parse_record(DataFacts, as_json(value), Path("data.json")), value)
        check(lambda value: parse_summary(as_json(value), Path("summary.json")), value)


def test_no_model_of_training_has_types_of_errors_without_words():
    """Types of problems that pydantic can find in the fields; new kinds of fields need words in `EXPECTED`."""
    for model in (cw.TrainRequest, TrainConfig, Recipe, Summary):
        assert issubclass(model, BaseModel)
        for name, field in model.model_fields.items():
            assert not re.search("datetime|UUID|Decimal|Enum|bytes", str(field.annotation)), name

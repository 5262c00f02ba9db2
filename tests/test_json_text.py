"""JSON that is written holds finite numbers only; JSON that is read is whole, or one clear error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.errors import ConvwrightError, RunError, UsageError
from convwright.json_text import dump, parse, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_round_trip(value, ascii_only):
    assert parse(dump(value, ascii_only=ascii_only), "text") == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_number_that_is_not_finite_is_written(number):
    with pytest.raises(ConvwrightError, match=r"rows\.1\.loss is -?(nan|inf), which JSON cannot hold"):
        dump({"rows": [{"loss": 1.0}, {"loss": number}]})


@pytest.mark.parametrize(
    "text", ["", "{", "[NaN]", "[Infinity]", "[1e999]", "[" * 100_000, "1" * 10_000, b"\xff", '{"a": 1} x']
)
def test_damaged_text_is_one_error_that_names_its_source(text):
    with pytest.raises(UsageError, match=r"^a\.json: not readable JSON"):
        parse(text, "a.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_windows_editors_are_read(encoding):
    assert parse('{"name": "\u00e9"}'.encode(encoding), "a.json") == {"name": "\u00e9"}


def test_files_are_read_with_the_given_error_class(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(RunError, match="cannot be read: No such file"):
        read(path, RunError)
    path.write_text(json.dumps({"a": "\udcff"}))
    assert read(path, RunError) == {"a": "\udcff"}


def test_a_member_given_twice_is_refused():
    with pytest.raises(UsageError, match="the member 'a' occurs twice"):
        parse('{"a": 1, "b": {"a": 2}, "a": 3}', "a.json")

"""Budgets: read from text and dictionaries, formatted, and refused with what would be right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.errors import ArgumentError, UsageError
from convwright.scaling.budget import as_budget, parse_budget


def test_a_budget_may_be_a_dictionary():
    assert as_budget({"macs": 50e6, "latency_ms": 3}).limits == {"macs": 50e6, "latency": 3e-3}
    assert as_budget({"latency_ms": 3}) == as_budget("latency<=3ms") == as_budget(parse_budget("latency<=3ms"))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"latency": 8}, "budget: write latency_ms in a dictionary: the latency in milliseconds"),
        (object(), "budget: must be a text such as 'macs<=50M' or a dictionary, not <object"),
        ({3: 8}, "budget: unknown resource 3"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(budget, message):
    with pytest.raises(ArgumentError) as error:
        as_budget(budget)
    assert message in str(error.value)


def test_every_resource_with_its_units():
    budget = parse_budget("macs<=50M, params<=1.5m ,memory<=40MB,latency<=3ms, activations<2e3K")
    assert budget.limits == {"macs": 50e6, "params": 1.5e6, "memory": 40e6, "latency": 3e-3, "activations": 2e6}
    assert parse_budget("memory<=1MiB").limits == {"memory": 2**20}
    assert parse_budget("macs<=50000000").limits == {"macs": 50e6}
    for text in ("500000", "500_000", "500,000", "5e5", "5E+5", "0.5M", "500k", "500 K", "500000.0"):
        assert parse_budget(f"params<={text}, macs<=7").limits == {"params": 5e5, "macs": 7}
    assert str(budget) == (
        "macs <= 50.0 M, params <= 1.50 M, memory <= 40.0 MB, latency <= 3 ms, activations <= 2.00 M"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory<=40", "a unit is missing in 'memory<=40'; write memory<=40MB"),
        ("latency<=3", "write latency<=3ms"),
        ("flops<=3M", "unknown resource 'flops'; did you mean macs?"),
        ("laziness<=3M", "unknown resource 'laziness'; there are macs, params, activations, memory, latency"),
        ("macs<=3MB", "'MB' in 'macs<=3MB' is not a unit of macs"),
        ("macs>=3M", "'macs>=3M' is not a limit"),
        ("macs<=1.2.3M", "'1.2.3' in 'macs<=1.2.3M' is not a number"),
        ("macs<=-3M", "'macs<=-3M' is out of range; a limit is above 0"),
        ("macs<=0M", "'macs<=0M' is out of range; a limit is above 0 and at most 1e+100"),
        ("macs<=1e999G", "'macs<=1e999G' is out of range"),
        ("macs<=" + "9" * 5000, "is out of range"),
        ("macs<=1M, macs<=2M", "macs has two limits"),
        ("memory<=0,500GB", "'0,500' is not a clear number; write 0.5 or 500"),
        ("latency<=2.5,000ms, macs<=3M", "'2.5,000' is not a clear number; write 25 or 2.5"),
        ("latency<=2,5ms", "write 2.5 or 25"),
        ("params<=1,0000", "write 1 or 10000"),
        ("params<=1,2,3", "write 123"),
        ("params<=1_00", "write 100"),
        ("params<=.,.", "write another number"),
        (" , ", "must have one limit or more"),
    ],
)
def test_a_wrong_budget_is_refused_with_what_would_be_right(text, message):
    with pytest.raises(UsageError) as error:
        parse_budget(text)
    assert message in str(error.value)


@given(
    st.dictionaries(
        st.sampled_from(["macs", "params", "activations", "memory", "latency_ms"]),
        st.one_of(st.floats(1e-3, 1e15), st.integers(1, 10**15), st.integers(1, 9999).map(lambda number: 1e5 * number)),
        min_size=1,
    )
)
def test_the_text_of_a_budget_has_its_exact_limits(limits: dict[str, float]) -> None:
    budget = as_budget(limits)
    again = parse_budget(budget.text)
    assert again.limits.keys() == budget.limits.keys()
    for name, limit in budget.limits.items():
        assert again.limits[name] == pytest.approx(limit, rel=1e-15)


@given(st.integers(1000, 10**15), st.sampled_from(",_"), st.sampled_from(["", "K", " M", "e3"]))
def test_separators_of_thousands_change_nothing(number: int, separator: str, unit: str) -> None:
    text = f"{number:{separator}}"
    assert parse_budget(f"params<={text}{unit},macs<=7,") == parse_budget(f"params<={number}{unit}, macs<=7")
    for unclear in (f"0{text}", f"{text}.5", f"{text}0"):
        with pytest.raises(ArgumentError, match="not a clear number"):
            parse_budget(f"params<={unclear}{unit}")


def test_what_a_budget_allows_is_listed_with_units():
    assert as_budget("macs<=20M, latency<=8ms").allowance == "20.0 M MACs and 8 ms per image"
    assert as_budget("params<=2M").allowance == "2.00 M parameters"


def test_every_wrong_limit_is_reported():
    with pytest.raises(UsageError) as raised:
        as_budget("parms<=1M, macs<=50M, latency<=abc, memory<=-3MB")
    assert [line.partition(";")[0] for line in str(raised.value).splitlines()] == [
        "budget: unknown resource 'parms'",
        "budget: 'latency<=abc' is not a limit",
        "budget: 'memory<=-3MB' is out of range",
    ]
